"""Optuna's own pruners as rules of ours, asked after every epoch of a trial."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import RandomSampler

from optuna_study.errors import UnreachableError
from optuna_study.search.pruner import FEWEST_OTHERS, FIRST_EPOCH, SPACING, Cut
from optuna_study.store.engine import optuna_bridge
from optuna_study.store.queue import queue
from optuna_study.store.reads import aggregates

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from optuna_study.search.pruner import Others
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import Claim, StudyRecord


def median(epochs: int) -> BasePruner:
    """The best value so far is below the median of the completed trials' at this epoch."""
    return MedianPruner(n_startup_trials=FEWEST_OTHERS, n_warmup_steps=FIRST_EPOCH)


def percentile(epochs: int) -> BasePruner:
    """The best value so far is not in the best quarter of the completed trials' at this epoch."""
    return PercentilePruner(25.0, n_startup_trials=FEWEST_OTHERS, n_warmup_steps=FIRST_EPOCH)


def successive_halving(epochs: int) -> BasePruner:
    """One in three goes on at each rung, which lie three times as far as the one before."""
    first = max(1, epochs // SPACING**3)
    return SuccessiveHalvingPruner(min_resource=first, reduction_factor=SPACING)


def hyperband(epochs: int) -> BasePruner:
    """Successive halving in several brackets, which begin to compare at different epochs."""
    return HyperbandPruner(1, max_resource=epochs, reduction_factor=SPACING)


@dataclass(frozen=True)
class OptunasRule:
    """Asks a pruner of Optuna's about a claimed trial, as the study stands at that moment.

    What a pruner notes of the trial is written by its owner alone. It compares with the trials
    that our rungs compare with, no others.
    """

    name: str
    pruner: BasePruner
    store: Store
    storage: BaseStorage
    study: StudyRecord
    claim: Claim

    def __call__(
        self, epoch: int, value: float, others: Others, direction: str, epochs: int
    ) -> Cut | None:
        """Whether the trial is given up; not while the store is away.

        Raises:
            StaleClaimError: the trial is no longer the caller's.
        """
        compared = len(others()) + 1  # which writes the trial's own values first
        try:
            with optuna_bridge.optuna_failures(self.store):
                out = aggregates.not_compared(self.store, self.study)
                sampler = RandomSampler(seed=0)  # asked for nothing
                view = optuna_bridge.Draft(self.storage, self.study, sampler, self.claim, out)
                given_up = self.pruner.prune(view.trial.study, view.get_trial(self.claim.trial_id))
            if view.attributes:
                queue.write_parameters(self.store, self.claim, (), view.attributes)
        except UnreachableError:
            return None
        return Cut(f"Optuna's {self.name} pruner", math.nan, compared) if given_up else None
