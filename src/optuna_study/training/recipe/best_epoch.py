"""The epoch that a run ends with: its best one so far, with the weights it had then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from optuna_study.config.epoch import is_better

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn

METRIC = "validation_accuracy"
"""What epochs are compared by where no study says otherwise."""


class BestState(TypedDict):
    """A best epoch as a checkpoint has it."""

    epoch: int
    value: float
    weights: dict[str, torch.Tensor] | None


@dataclass(frozen=True)
class BestEpoch:
    """The first epoch with the best value so far.

    `weights` are a copy of the model's state then, on its device, where a run ends with them.
    """

    epoch: int
    value: float
    weights: Mapping[str, torch.Tensor] | None = None

    def state(self) -> BestState:
        """What a checkpoint has to hold."""
        weights = None if self.weights is None else dict(self.weights)
        return {"epoch": self.epoch, "value": self.value, "weights": weights}


def better_of(
    best: BestEpoch | None, epoch: int, metric: str, value: float, model: nn.Module | None
) -> BestEpoch | None:
    """The best epoch after a further one; the weights are those of `model`, if one is given.

    An epoch whose value is no number is never the best.
    """
    worse = value != value or (best is not None and not is_better(metric, value, best.value))
    if worse:
        return best
    weights = None
    if model is not None:
        weights = {name: each.detach().clone() for name, each in model.state_dict().items()}
    return BestEpoch(epoch, value, weights)
