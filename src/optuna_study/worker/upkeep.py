"""What a study shows of itself, brought up to date after trials."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from optuna_study.artifacts import retention
from optuna_study.errors import OptunaStudyError
from optuna_study.report import notes
from optuna_study.search import importance
from optuna_study.store.reads import reads
from optuna_study.store.studies import studies
from optuna_study.store.studies.dashboard_notes import write_note
from optuna_study.worker.open_study import Site, insist

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import TrainConfig
    from optuna_study.store.records import Claim

log = logging.getLogger(__name__)


def _afterwards(
    site: Site, claim: Claim, config: TrainConfig | None, wait: Callable[[float], bool]
) -> None:
    """Notes and order among the files; the trial has ended, so nothing here can fail it."""

    def renew() -> None:
        retention.remove_superseded(site.store, site.study, site.workspace)
        if config is not None:
            _note_trial(site, claim, config)

    try:
        insist(site, renew, wait)
    except OptunaStudyError as error:
        log.warning("files or notes not brought up to date: %s", error)
    except Exception:
        log.exception("files or notes not brought up to date")


def _note_trial(site: Site, claim: Claim, config: TrainConfig) -> None:
    trial = reads.trial(site.store, site.study, claim.number)
    text = notes.trial_note(trial, config, site.study)
    write_note(site.store, site.study, text, claim.trial_id)


def _note_study(site: Site) -> None:
    study = studies.find_study(site.store, site.study.name)
    if study is None:
        return
    trials = reads.trials(site.store, study, with_parameters=False)
    text = notes.study_note(
        study,
        site.definition,
        reads.counts(site.store, study),
        reads.best(site.store, study),
        [trial for trial in trials if trial.baseline is not None],
    )
    write_note(site.store, study, text)


def bring_up_to_date(site: Site, wait: Callable[[float], bool], *, last: bool = False) -> None:
    """Renew what a study shows of itself: importances if due, its note; `last` at its end."""

    def renew() -> None:
        retention.remove_superseded(site.store, site.study, site.workspace)
        searched = site.definition.only is None
        if searched and importance.due(site.store, site.study, last=last):
            importance.refresh(site.store, site.storage, site.study)
        _note_study(site)

    try:
        insist(site, renew, wait)
    except OptunaStudyError as error:
        log.warning("the study's note or importances were not brought up to date: %s", error)
    except Exception:
        log.exception("the study's note or importances were not brought up to date")


def enough_without_improvement(site: Site) -> bool:
    """Whether so many trials have ended since the best that the study asks to be stopped.

    Those that had ended when somebody let the study go on count no more.
    """
    patience = site.definition.search.stop_without_improvement
    if patience is None:
        return False
    best, now = reads.best(site.store, site.study), studies.find_study(site.store, site.study.name)
    if best is None or best.completed is None or now is None:
        return False
    begin = max(best.completed, now.going_since or 0.0)
    trials = reads.trials(site.store, site.study, with_parameters=False)
    since = [t for t in trials if t.completed is not None and t.completed > begin]
    return len(since) >= patience
