"""What mattered: computed by a worker now and then, stored for everyone to read.

Shares of the variance between completed trials, by PED-ANOVA (S. Watanabe, A. Bansal and F.
Hutter, 2023), Optuna's default. Of a dozen trials they are mostly luck, most of all those of a
parameter that a condition leaves to a few. So a parameter has a share only when enough completed
trials had it, with an interval from trials drawn anew; the others are named as not told.
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from optuna_study.store.engine import optuna_bridge
from optuna_study.store.importances import Importance
from optuna_study.store.reads import aggregates
from optuna_study.store.schema import CONFIRMS, REUSES
from optuna_study.store.studies import studies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

log = logging.getLogger(__name__)

FEWEST = 10  # completed trials that have a parameter; fewer tell nothing of it
GROWTH = 1.5  # factor on the completed trials from one computation to the next
DRAWS = 30  # bootstrap samples, each of as many trials as there are
MOST_TRIALS = 500  # the newest ones, of a large study: the computation is done for each draw
INTERVAL = (5.0, 95.0)  # percentiles of the draws


def due(store: Store, study: StudyRecord, *, last: bool) -> bool:
    """Whether so many trials have completed since the stored ones that they should be made anew.

    The interval grows with the study: the computation takes seconds at thousands of trials.
    `last` asks whether they are behind at all, for a study that has come to its end.
    """
    completed = aggregates.completed_trials(store, study)
    now = studies.find_study(store, study.name)
    if now is None or completed < FEWEST:
        return False
    used = now.importances_trials or 0
    return completed > used if last else completed >= GROWTH * used


def refresh(store: Store, storage: BaseStorage, study: StudyRecord) -> None:
    """Compute the importances over completed trials, and store them.

    Confirmation runs, excluded trials, those that repeat another's value and those with settings
    beside what is searched, such as a baseline of another model, are left out.
    """
    view = optuna_bridge.optuna_study(storage, study, optuna.samplers.RandomSampler(seed=0))
    done = view.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    out = aggregates.excluded(store, study)
    used = [
        trial
        for trial in done
        if not {"fixed", CONFIRMS, REUSES} & trial.user_attrs.keys() and trial.number not in out
    ]
    found = measure(used[-MOST_TRIALS:], study.direction)
    studies.save_importances(store, study, found, len(used))
    log.info("importances of %d parameters from %d completed trials", len(found), len(used))


def measure(trials: Sequence[FrozenTrial], direction: str) -> dict[str, Importance]:
    """The importance of each parameter, the largest first, then those that are not told."""
    had = Counter(name for trial in trials for name in trial.params)
    told = [name for name, amount in had.items() if amount >= FEWEST]
    shares = _shares(trials, told, direction)
    random = np.random.default_rng(0)
    drawn = [
        _shares(
            [trials[i] for i in random.integers(len(trials), size=len(trials))], told, direction
        )
        for _ in range(DRAWS if shares else 0)
    ]
    found = {}
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        low, high = np.percentile([draw.get(name, 0.0) for draw in drawn], INTERVAL)
        found[name] = Importance(had[name], share, min(float(low), share), max(float(high), share))
    return found | {name: Importance(had[name]) for name in had if name not in found}


def _shares(
    trials: Sequence[FrozenTrial], names: Sequence[str], direction: str
) -> Mapping[str, float]:
    """Optuna's importances of some parameters; none where they cannot be computed."""
    if not names:
        return {}
    study = optuna.create_study(direction="maximize" if direction == "maximize" else "minimize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                value=trial.values[0],
                params={name: trial.params[name] for name in names if name in trial.params},
                distributions={
                    name: trial.distributions[name] for name in names if name in trial.params
                },
            )
            for trial in trials
        ]
    )
    with warnings.catch_warnings():
        # A parameter that a condition left out of most trials; its small share says as much.
        warnings.filterwarnings("ignore", "Some regimes for parameter")
        found: Mapping[str, float] = _optunas().get_param_importances(study)
        return found


@cache
def _optunas() -> ModuleType:
    """Optuna's importances, without scikit-learn: only an evaluator not used here needs it.

    Optuna imports it where it can, with scipy: 1.5 CPU seconds in each worker's last moments.
    """
    modules: dict[str, Any] = vars(sys)["modules"]
    refused = "sklearn" not in modules
    if refused:
        modules["sklearn"] = None  # Python's way to refuse an import
    try:
        return importlib.import_module("optuna.importance")
    finally:
        if refused:
            del modules["sklearn"]
