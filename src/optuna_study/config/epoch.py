"""What one epoch of a run gave, and which of its figures is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.config.reasons import Divergence

DIRECTIONS: Mapping[str, str] = {
    "validation_accuracy": "maximize",
    "validation_loss": "minimize",
    "balanced_accuracy": "maximize",
    "macro_f1": "maximize",
    "log_loss": "minimize",
}
"""The figures of validation pictures, each with the direction that is better."""

COSTS = ("prediction_seconds", "parameters")
"""What a model costs, less being better: what a metric may be weighed against."""


def direction_of(metric: str) -> str:
    """Whether a figure, or what a model costs, is to be maximised or minimised.

    >>> direction_of("macro_f1"), direction_of("parameters")
    ('maximize', 'minimize')
    """
    return DIRECTIONS.get(metric, "minimize")


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether a value of a metric is better than another one; NaN never is.

    >>> is_better("log_loss", 0.3, 0.4), is_better("macro_f1", 0.3, 0.3)
    (True, False)
    """
    return value > than if DIRECTIONS[metric] == "maximize" else value < than


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave.

    Losses are means over pictures, accuracies fractions in [0, 1], `lr` the rate at the epoch's
    last step, `gradient_norm` the mean L2 norm over the epoch's steps, `seconds` the epoch's
    duration.
    Of the validation pictures, `balanced_accuracy` is the mean recall of the classes, `macro_f1`
    the mean over the classes of precision's and recall's harmonic mean, `log_loss` the mean
    negative logarithm of the true class's probability (`training.losses.log_likelihood`).
    After a divergence within the epoch the validation figures are NaN.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    lr: float
    gradient_norm: float
    seconds: float
    balanced_accuracy: float = math.nan
    macro_f1: float = math.nan
    log_loss: float = math.nan
    divergence: Divergence | None = None
