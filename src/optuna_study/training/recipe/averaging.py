"""A running average of a model's weights, which is evaluated and kept in their place."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Average:
    """The exponential average of a model's parameters; buffers are the model's newest.

    `decay` is the share of the old average in the new one. It begins smaller and rises as
    (1 + steps) / (10 + steps), so that the first, random weights are soon forgotten (TensorFlow's
    ExponentialMovingAverage, timm's ModelEmaV3).
    """

    module: nn.Module
    decay: float

    @classmethod
    def of(cls, model: nn.Module, decay: float) -> Average:
        """The average of a model that has not been trained yet."""
        module = copy.deepcopy(model)
        module.requires_grad_(requires_grad=False)
        return cls(module, decay)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 1 over the whole run."""
        decay = min(self.decay, (1 + step) / (10 + step))
        ours: list[torch.Tensor] = list(self.module.parameters())
        theirs: list[torch.Tensor] = list(model.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        for our, their in zip(self.module.buffers(), model.buffers(), strict=True):
            our.copy_(their)
