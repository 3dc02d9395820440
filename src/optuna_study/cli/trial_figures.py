"""A trial's own figures as a page of our dashboard's server, drawn when somebody asks for it.

optuna-dashboard draws figures of studies alone, so a trial's note leads to the page.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from html import escape
from threading import Lock
from typing import TYPE_CHECKING, Any

from optuna_study.cli.guard import HTML, answer
from optuna_study.errors import OptunaStudyError, StoreError
from optuna_study.report.document.html import trial_page
from optuna_study.report.figures import losses, predictions
from optuna_study.report.figures.study_data import load_study_data
from optuna_study.store.reads import reads
from optuna_study.store.studies.studies import find_study
from optuna_study.text import in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

MOST_PAGES = 8  # that are kept, of some 5 MB each
PAGE = re.compile(r"/figures/(\d{1,18})/(\d{1,18})")
FILES = frozenset({losses.FILE, predictions.FILE})


@dataclass(frozen=True)
class TrialFigures:
    """A WSGI application that answers as `app` does, and has a page of figures for each trial.

    The pages of trials that have ended are kept, the few that were asked for last.
    """

    app: WSGIApplication
    store: Store
    workspace: Workspace
    _one_at_a_time: Lock = field(default_factory=Lock)
    _made: OrderedDict[tuple[object, ...], str] = field(default_factory=OrderedDict)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        asked = PAGE.fullmatch(environ.get("PATH_INFO", ""))
        if asked is None or environ["REQUEST_METHOD"] != "GET":
            return self.app(environ, start_response)
        page: str | None
        status = "200 OK"
        try:
            with self._one_at_a_time:  # each reads its whole study
                page = self._page(int(asked[1]), int(asked[2]))
        except StoreError as error:
            status, page = "503 Service Unavailable", escape(in_one_line(error))
        except OptunaStudyError:  # gone in between
            page = None
        if page is None:
            status, page = "404 Not Found", "There is no such trial."
        return answer(start_response, status, HTML, page)

    def _page(self, study_id: int, number: int) -> str | None:
        study = study_of_id(self.store, study_id)
        if study is None:
            return None
        trial = reads.trial(self.store, study, number)
        key = (study.uuid, study.name, number, trial.completed)
        if key in self._made:
            self._made.move_to_end(key)
            return self._made[key]
        data = load_study_data(self.store, study, self.workspace, number)
        page = trial_page(data)
        left = data.predictions is not None or data.losses is not None
        if trial.completed is not None and left:  # else more may come of it
            self._made[key] = page
            while len(self._made) > MOST_PAGES:
                self._made.popitem(last=False)
        return page


def study_of_id(store: Store, study_id: int) -> StudyRecord | None:
    """The study of Optuna's id; None of plain Optuna's."""
    named = (row.name for row in reads.list_studies(store) if row.study_id == study_id)
    name = next(named, None)
    return None if name is None else find_study(store, name)


def with_link(note: str, study_id: int, trial: Mapping[str, Any]) -> str:
    """A trial's note with a link to its page, where the trial left what the page shows."""
    link = f"/figures/{study_id}/{trial['number']}"
    names = {each["filename"] for each in trial["artifacts"]}
    if not names & FILES or link in note:
        return note
    return f"{note}\n\n[Figures of this trial]({link})".lstrip()
