"""The patterns of loss curves, and a curve with the figures that tell them; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from optuna_study.training.divergence import Figures, Guessing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna_study.store.records import EpochRecord

AT_CHANCE = 0.98
"""A loss above this share of guessing's has not left it."""

HARDLY_LEARNED = 0.9
"""A run that has more than this share of guessing's loss or errors left has hardly begun."""


class Pattern(StrEnum):
    """What a curve looks like."""

    LR_TOO_LARGE = "lr_too_large"  # it goes up and down
    OVERFIT_GAP = "overfit_gap"  # training loss low, validation high and flat
    OVERFIT_RISING = "overfit_rising"  # training loss falls, validation rises
    TOO_SLOW = "too_slow"  # both fall slowly and still do at the end
    POOR_INITIALISATION = "poor_initialisation"  # flat, then a drop; or flat without a gradient
    DIVERGING = "diverging"  # the loss rises
    DEAD = "dead"  # at chance level from the first epoch to the last
    HEALTHY = "healthy"
    TOO_SHORT = "too_short"  # too few epochs to say

    @property
    def label(self) -> str:
        """The pattern in words."""
        return self.value.replace("_", " ")

    @property
    def is_finding(self) -> bool:
        """Whether it is something to do something about."""
        return self not in (Pattern.HEALTHY, Pattern.TOO_SHORT)


@dataclass(frozen=True)
class Expected:
    """What a curve is held against, on so many training pictures.

    `bias_gradient` gives the gradient norm that the output biases alone have at a loss, where a
    model answers the same for every picture; `epochs` is how many the run was to have. The losses
    of an own objective have an unknown scale: neither guessing's loss nor that norm is theirs.
    """

    guessing: Guessing
    pictures: int
    bias_gradient: Callable[[float], float]
    epochs: int
    own_objective: bool = False
    scaled_weights: bool = False  # drawn by the layers' sizes, as he and xavier do
    normalised: bool = False  # between the layers


@dataclass(frozen=True)
class Diagnosis:
    """A pattern with its cause and the advice, a sentence each."""

    pattern: Pattern
    cause: str
    advice: str


@dataclass(frozen=True)
class Curve:
    """A curve with the figures that tell its pattern."""

    epochs: Sequence[EpochRecord]
    expected: Expected

    @property
    def losses(self) -> list[float]:
        """The training loss of each epoch."""
        return [epoch.train_loss for epoch in self.epochs]

    @property
    def validation(self) -> list[float]:
        """The validation loss of each epoch."""
        return [epoch.validation_loss for epoch in self.epochs]

    @property
    def last(self) -> EpochRecord:
        """The last epoch."""
        return self.epochs[-1]

    @property
    def level(self) -> float:
        """The loss that guessing costs."""
        return self.expected.guessing.loss

    @property
    def best(self) -> EpochRecord:
        """The epoch with the lowest training loss."""
        return min(self.epochs, key=lambda epoch: epoch.train_loss)

    @property
    def complete(self) -> bool:
        """Whether the run had all its epochs."""
        return len(self.epochs) >= self.expected.epochs

    @property
    def chance_epochs(self) -> int:
        """How many epochs are at chance level."""
        return sum(map(self.at_chance, self.epochs))

    def at_chance(self, epoch: EpochRecord) -> bool:
        """Whether an epoch's figures could come from guessing."""
        if self._validated(epoch):
            return False
        loss = math.inf if self.expected.own_objective else epoch.train_loss
        figures = Figures(loss, epoch.train_accuracy, self.expected.pictures)
        return self.expected.guessing.no_better(figures)

    def unlearned(self, epoch: EpochRecord) -> float:
        """What is left of guessing's training loss; of its errors, where losses have no scale."""
        own = self.expected.own_objective
        return self._errors(epoch) if own else epoch.train_loss / self.level

    def hardly_better(self, epoch: EpochRecord) -> bool:
        """Whether an epoch is no better than guessing by its loss, and hardly by accuracies."""
        return self.unlearned(epoch) >= AT_CHANCE and self._errors(epoch) > HARDLY_LEARNED

    def _errors(self, epoch: EpochRecord) -> float:
        """What is left of guessing's errors, in training or in validation, whichever is less.

        Dropout, augmentation and mixed pictures make training accuracies low, or tell nothing.
        """
        accuracies = (epoch.train_accuracy, epoch.validation_accuracy)
        return self._left(max((each for each in accuracies if math.isfinite(each)), default=0.0))

    def _validated(self, epoch: EpochRecord) -> bool:
        """Whether validation accuracy is above guessing's, by more than its pictures' luck."""
        return self._left(epoch.validation_accuracy) < HARDLY_LEARNED

    def _left(self, accuracy: float) -> float:
        """What is left of guessing's errors at an accuracy."""
        return (1 - accuracy) / (1 - self.expected.guessing.accuracy)
