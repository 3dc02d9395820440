"""A running average of a model's weights, which is evaluated and kept in their place."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
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

    model: nn.Module  # that learns
    module: nn.Module
    decay: float

    @classmethod
    def of(cls, model: nn.Module, decay: float) -> Average:
        """The average of a model that has not been trained yet."""
        module = copy.deepcopy(model)
        module.requires_grad_(requires_grad=False)
        return cls(model, module, decay)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1 over the whole run."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._parameters[0], self._parameters[1], 1 - decay)
        for ours, theirs in self._buffers:
            ours.copy_(theirs)

    # Looked up once: that takes three times as long as the average of a small net.

    @cached_property
    def _parameters(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return list(self.module.parameters()), list(self.model.parameters())

    @cached_property
    def _buffers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(zip(self.module.buffers(), self.model.buffers(), strict=True))
