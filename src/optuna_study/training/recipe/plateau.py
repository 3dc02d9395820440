"""A learning rate that falls when the validation loss no longer does, as torch's scheduler."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna_study.config.settings import TrainSettings

THRESHOLD = 1e-4
"""The share by which a loss must be below the best one to count as better."""


@dataclass(frozen=True)
class Plateau:
    """The factor on the schedule's rate, and what it follows from: plain values for a checkpoint.

    >>> from optuna_study.config.settings import TrainSettings
    >>> settings = TrainSettings(schedule="plateau", plateau_factor=0.1, plateau_patience=1)
    >>> state = Plateau()
    >>> for loss in (1.0, 0.9, 0.9, 0.9, 0.9):
    ...     state = state.after(settings, loss)
    >>> state.factor
    0.1
    """

    factor: float = 1.0
    best: float = math.inf
    waited: int = 0

    def after(self, settings: TrainSettings, loss: float) -> Plateau:
        """The state after an epoch with this validation loss."""
        if settings.schedule != "plateau":
            return self
        if loss < self.best * (1 - THRESHOLD):
            return dataclasses.replace(self, best=loss, waited=0)
        if self.waited < settings.plateau_patience:
            return dataclasses.replace(self, waited=self.waited + 1)
        return Plateau(self.factor * settings.plateau_factor, self.best, 0)
