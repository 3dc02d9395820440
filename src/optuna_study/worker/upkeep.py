"""What a study shows of itself, brought up to date after trials."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from optuna_study.artifacts import retention
from optuna_study.errors import OptunaStudyError
from optuna_study.report import notes
from optuna_study.report.export import trial_config
from optuna_study.report.load import load_summary
from optuna_study.report.summary import has_settings
from optuna_study.search import importance
from optuna_study.store import pareto
from optuna_study.store.reads import reads
from optuna_study.store.studies import studies
from optuna_study.store.studies.dashboard_notes import without_note, write_note, write_notes

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import TrainConfig
    from optuna_study.store.records import Claim
    from optuna_study.worker.open_study import OpenStudy

log = logging.getLogger(__name__)


TIDY_SECONDS = 2.0
"""Between two looks at a study's files and the notes of its trials: of short ones several."""


def clean_up(
    study: OpenStudy, claim: Claim, config: TrainConfig | None, wait: Callable[[float], bool]
) -> None:
    """Put the files in order and note a trial that has ended; nothing here can fail it.

    Soon after another one it is left for later, for `tidy` at the latest.
    """
    if config is not None:
        study.unnoted.trials[claim.number] = config
    if time.monotonic() - study.unnoted.since >= TIDY_SECONDS:
        tidy(study, wait)


def tidy(study: OpenStudy, wait: Callable[[float], bool], *, last: bool = False) -> None:
    """Remove the files that nobody needs, and note all trials that have ended since.

    The `last` time also those whose worker was killed before it had noted them.
    """
    store, record, ended = study.store, study.record, study.unnoted.trials

    def renew() -> None:
        retention.remove_superseded(store, record, study.workspace)
        numbers = {*ended, *(without_note(store, record) if last else ())}
        texts: dict[int | None, str] = {}
        for each in reads.trials(store, record, numbers=numbers) if numbers else ():
            if each.number in ended or has_settings(each):
                config = ended.get(each.number) or trial_config(record, each)
                texts[each.trial_id] = notes.trial_note(each, config, record)
        if texts:
            write_notes(store, record, texts)

    _try(study, renew, wait, "files or notes not brought up to date")
    ended.clear()
    study.unnoted.since = time.monotonic()


def bring_up_to_date(
    study: OpenStudy, wait: Callable[[float], bool], *, last: bool = False
) -> None:
    """Renew what a study shows of itself: importances if due, its note; `last` at its end."""
    tidy(study, wait, last=last)

    def renew() -> None:
        searched = study.definition.only is None
        if searched and importance.due(study.store, study.record, last=last):
            importance.refresh(study.store, study.storage, study.record)
        _note_study(study)

    _try(study, renew, wait, "the study's note or importances were not brought up to date")


def _note_study(study: OpenStudy) -> None:
    record = studies.find_study(study.store, study.record.name)
    if record is None:
        return
    write_note(study.store, record, notes.study_note(load_summary(study.store, record)))


def _try(
    study: OpenStudy, renew: Callable[[], None], wait: Callable[[float], bool], failed: str
) -> None:
    try:
        study.retry_store(renew, wait)
    except OptunaStudyError as error:
        log.warning("%s: %s", failed, error)
    except Exception:
        log.exception("%s", failed)


def enough_without_improvement(study: OpenStudy) -> bool:
    """Whether so many trials have ended since the best that the study's search is to end.

    With two objectives since the last that came to the Pareto front. Those that had ended when
    somebody resumed the study no longer count.
    """
    enough = study.definition.search.stop_without_improvement
    if enough is None:
        return False
    best = reads.best(study.store, study.record)
    now = studies.find_study(study.store, study.record.name)
    if best is None or best.completed is None or now is None:
        return False
    trials = reads.trials(study.store, study.record, with_parameters=False)
    front = pareto.front(pareto.weighed_trials(study.store, study.record), study.record)
    came = [trials[each.number].completed or 0.0 for each in front]
    begin = max(best.completed, now.going_since or 0.0, *came)
    since = [
        trial
        for trial in trials
        if (trial.completed or 0.0) > begin and trial.excluded is None and trial.confirms is None
    ]
    return len(since) >= enough
