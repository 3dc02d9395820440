"""What our dashboard's server adds to a study's details: the metric's name, figures on demand.

Figures are plotly objects as `optuna_dashboard.save_plotly_graph_object` would keep them, made
anew when the study has changed. Nothing of it is written: reading a study changes no store.

The dashboard looks through all notes of a study for the note of each trial, which takes some
twenty seconds at 3,000 trials. So it is given none of them, and they are put in here.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna_study.cli.trial_figures import study_of_id, with_link
from optuna_study.errors import OptunaStudyError
from optuna_study.report.confirmation.page import sentence
from optuna_study.report.figures.kinds import KINDS
from optuna_study.report.figures.study_data import load_study_data
from optuna_study.report.pages import ends_line
from optuna_study.report.tables import plain
from optuna_study.report.values import label
from optuna_study.store import pareto
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.schema import EXCLUDED, SIDE_COUNTS
from optuna_study.store.studies.dashboard_notes import is_trial_note, read_trial_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from optuna.storages import BaseStorage
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial

    from optuna_study.paths import Workspace
    from optuna_study.report.summary import Summary
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

log = logging.getLogger(__name__)

DETAILS = re.compile(r"/api/studies/(\d+)")
SHOWN = (
    *("ends", "curves", "schedules", "baselines"),
    *(kind.name for kind in KINDS.values() if kind.of_a_trial),
)
"""Kinds that the dashboard has nothing like."""

VERSIONS = ("optuna-study", "optuna", "torch", "python")
CARD = 440  # pixels that the dashboard shows of a figure

SMALLEST = 10_000  # bytes; a smaller answer is not worth compressing
QUICKLY = 1  # gzip's level: the rest of the answer takes longer than this


@dataclass(frozen=True)
class Shown:
    """What is added to a study: figures by their ids, and facts by their names."""

    figures: list[dict[str, str]]
    attributes: dict[str, str]


@dataclass
class StudyDetails:
    """A WSGI application that answers as `app` does, with more in the details of our studies."""

    app: WSGIApplication
    store: Store
    workspace: Workspace
    _made: dict[str, tuple[object, Shown]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        asked = DETAILS.fullmatch(environ.get("PATH_INFO", ""))
        if asked is None or environ["REQUEST_METHOD"] != "GET":
            return self.app(environ, start_response)
        answer, token = _Answer(), _asked_for_details.set(True)
        try:
            body = b"".join(self.app(environ, answer))
        finally:
            _asked_for_details.reset(token)
        if answer.status.startswith("200"):
            body = self._add(int(asked[1]), body)
        headers = [pair for pair in answer.headers if pair[0].lower() != "content-length"]
        if len(body) >= SMALLEST and "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            body = gzip.compress(body, QUICKLY)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        headers.append(("Content-Length", str(len(body))))
        start_response(answer.status, headers)
        return [body]

    def _add(self, study_id: int, body: bytes) -> bytes:
        details = json.loads(body)
        try:
            notes = read_trial_notes(self.store, study_id)
            for trial in (*details["trials"], *details["best_trials"]):
                trial["note"] = notes.get(trial["trial_id"], trial["note"])
            study = study_of_id(self.store, study_id)
            if study is not None:
                _mark(details["trials"], aggregates.excluded(self.store, study))
                for trial in (*details["trials"], *details["best_trials"]):
                    text = with_link(trial["note"]["body"], study_id, trial)
                    trial["note"] = {**trial["note"], "body": text}
                self._name_objectives(study, details)
                shown = self._shown(study)
                details["plotly_graph_objects"] += shown.figures
                theirs = {each["key"] for each in details["user_attrs"]}
                details["user_attrs"] += [
                    {"key": key, "value": text}
                    for key, text in shown.attributes.items()
                    if key not in theirs
                ]
        except OptunaStudyError:  # gone or away in between: the rest can be shown
            log.warning("study %d: not all of its page could be read", study_id)
        return json.dumps(details).encode()

    def _name_objectives(self, study: StudyRecord, details: dict[str, Any]) -> None:
        """Name what is optimised; of two objectives no confirmation run is the best."""
        metrics = filter(None, (study.metric, pareto.second_metric(study)))
        details.setdefault("objective_names", [label(each) for each in metrics])
        weighed = pareto.weighed_trials(self.store, study)
        if weighed:
            best = {each.number for each in pareto.front(weighed, study)}
            details["best_trials"] = [each for each in details["trials"] if each["number"] in best]

    def _shown(self, study: StudyRecord) -> Shown:
        out = aggregates.excluded(self.store, study)
        now = (reads.counts(self.store, study), study.importances_at, out)
        with self._lock:  # one of several pages makes it, the others wait
            before, shown = self._made.get(study.uuid, (None, None))
            if shown is None or before != now:
                shown = self._show(study)
                self._made[study.uuid] = now, shown
        return shown

    def _show(self, study: StudyRecord) -> Shown:
        data, drawn = load_study_data(self.store, study, self.workspace), []
        for name in SHOWN:
            made = KINDS[name].make(data)
            if made.data:
                height = min(made.layout.height, CARD)
                whose = f" (trial {data.focus})" if KINDS[name].of_a_trial else ""
                text = f"{KINDS[name].title}{whose}"
                # At the upper left: its buttons are on the right, lines of a legend below.
                title = {"text": text, "x": 0, "y": 1, "yanchor": "top", "pad": {"t": 10, "l": 10}}
                made.update_layout(title=title, margin={"t": 110}, height=height)
                drawn.append({"id": name, "graph_object": made.to_json()})
        return Shown(drawn, _attributes(data.summary))


def read_without_trial_notes(storage: BaseStorage) -> None:
    """Let a storage leave trials' notes out of its studies while their details are asked for.

    Only then: whoever writes a note compares its version with the one that stands.
    """
    everything = storage.get_all_studies

    def studies() -> list[FrozenStudy]:
        found = everything()
        if _asked_for_details.get():
            for study in found:
                study.system_attrs = {
                    key: value
                    for key, value in study.system_attrs.items()
                    if not is_trial_note(key)
                }
        return found

    storage.get_all_studies = studies  # type: ignore[method-assign]


def leave_out_of_best(storage: BaseStorage, store: Store) -> None:
    """Let a storage call no trial best that is excluded, or trains another again."""
    best = storage.get_best_trial

    def sound(study_id: int) -> FrozenTrial:
        study = study_of_id(store, study_id)
        ours = None if study is None else reads.best(store, study)
        return best(study_id) if ours is None else storage.get_trial(ours.trial_id)

    storage.get_best_trial = sound  # type: ignore[method-assign]


def _mark(trials: list[dict[str, Any]], excluded: Mapping[int, str]) -> None:
    """Say of trials whether they are excluded; the storage keeps an ended one as it was."""
    for trial in trials:
        attributes = [each for each in trial["user_attrs"] if each["key"] != EXCLUDED]
        was, why = len(attributes) < len(trial["user_attrs"]), excluded.get(trial["number"])
        if why is not None:
            attributes.append({"key": EXCLUDED, "value": why})
            trial["constraints"] = [1.0]
        elif was and trial["state"] == "Complete":
            trial["constraints"] = []
        trial["user_attrs"] = attributes


_asked_for_details: ContextVar[bool] = ContextVar("asked_for_details", default=False)


def _attributes(summary: Summary) -> dict[str, str]:
    """Data, counts, device, versions and verdict of a study, as far as they are known."""
    study, environment = summary.study, summary.study.environment
    sides = [f"{amount:,} {side}" for side, amount in environment.get(SIDE_COUNTS, {}).items()]
    versions = [f"{name} {environment[name]}" for name in VERSIONS if name in environment]
    confirmed = summary.confirmation
    found = {
        "data": study.data_source,
        "pictures": ", ".join(sides),
        "trials": plain(ends_line(summary)),
        "device": str(environment.get("device", "")),
        "versions": ", ".join(versions),
        "verdict": "" if confirmed is None else sentence(confirmed),
    }
    return {name: text for name, text in found.items() if text}


class _Answer:
    """What an application says its answer is, kept until the body is known."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []

    def __call__(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: tuple[type[BaseException], BaseException, TracebackType]
        | tuple[None, None, None]
        | None = None,
    ) -> Callable[[bytes], Any]:
        self.status, self.headers = status, headers
        return lambda _: None
