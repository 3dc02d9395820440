"""What mattered: computed by a worker now and then, stored for everyone to read."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import optuna

from optuna_study.store.engine import optuna_bridge
from optuna_study.store.reads import reads
from optuna_study.store.records import EndKind
from optuna_study.store.studies import studies

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

log = logging.getLogger(__name__)

FEWEST = 4  # completed trials; fewer tell nothing
GROWTH = 1.5  # factor on the completed trials from one computation to the next


def due(store: Store, study: StudyRecord, *, last: bool) -> bool:
    """Whether so many trials have completed since the stored ones that they should be made anew.

    The interval grows with the study: the computation takes seconds at thousands of trials.
    `last` asks whether they are behind at all, for a study that has come to its end.
    """
    completed = reads.counts(store, study).ends.get(EndKind.COMPLETED, 0)
    now = studies.find_study(store, study.name)
    if now is None or completed < FEWEST:
        return False
    used = now.importances_trials or 0
    return completed > used if last else completed >= GROWTH * used


def refresh(store: Store, storage: BaseStorage, study: StudyRecord) -> None:
    """Compute Optuna's default importances, PED-ANOVA over completed trials, and store them."""
    view = optuna_bridge.optuna_study(storage, study, optuna.samplers.RandomSampler(seed=0))
    done = view.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    with warnings.catch_warnings():
        # A parameter that a condition left out of most trials; its small share says as much.
        warnings.filterwarnings("ignore", "Some regimes for parameter")
        found = optuna.importance.get_param_importances(view)
    studies.save_importances(store, study, found, len(done))
    log.info("importances of %d parameters from %d completed trials", len(found), len(done))
