"""Initial weights by name, from a generator of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    Filler = Callable[[torch.Tensor, float, torch.Generator], torch.Tensor]

_FILLERS: dict[str, Filler] = {
    "zeros": lambda weight, _std, _generator: nn.init.zeros_(weight),
    "normal": lambda weight, std, generator: nn.init.normal_(weight, std=std, generator=generator),
    # Cut at two standard deviations; torch's own bounds are absolute.
    "truncated_normal": lambda weight, std, generator: nn.init.trunc_normal_(
        weight, std=std, a=-2 * std, b=2 * std, generator=generator
    ),
    "xavier": lambda weight, _std, generator: nn.init.xavier_normal_(weight, generator=generator),
    "he": lambda weight, _std, generator: nn.init.kaiming_normal_(
        weight, nonlinearity="relu", generator=generator
    ),
}

LAYERS_WITH_WEIGHTS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@torch.no_grad()
def initialise(model: nn.Module, name: str, std: float, generator: torch.Generator) -> None:
    """Draw the weights of every convolution and dense layer and set their biases to zero.

    `xavier` and `he` are the normal forms, `he` with the gain of ReLU whatever the activation, so
    that the two settings stay independent. `std` is that of `normal` and `truncated_normal`. The
    generator must be on the weights' device.

    Raises:
        UsageError: an unknown name.
    """
    fill = _FILLERS.get(name)
    if fill is None:
        raise UsageError(f"initialisation '{name}': unknown, {did_you_mean(name, _FILLERS)}")
    for layer in model.modules():
        if isinstance(layer, LAYERS_WITH_WEIGHTS):
            fill(layer.weight, std, generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
