"""A network whose batch norms stand in the weights of the convolutions before them.

In evaluation a batch norm is the same linear function of every picture, so that the convolution
before it can do its work (Jacob et al., arXiv:1712.05877, section 3.2): the answers are the same
but for rounding, and what the network writes to memory and reads again is a third less.

A network that learns with frozen statistics can do the same at every step (You et al., Efficient
ConvBN Blocks, arXiv:2305.11624): the folded weights are computed from those that learn, and
gradients flow through them.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from optuna_study.training.backbone.convolution import convolve, part_of
from optuna_study.training.device import single_precision

if TYPE_CHECKING:
    Padding = tuple[tuple[int, int], bool]

ROUNDING = 1e-4
"""How far an answer may be off by folding, as a part of the largest; seen: 5e-6."""


def fold_batch_norms(model: nn.Module, picture: torch.Tensor) -> nn.Module:
    """A model in evaluation mode without its batch norms, or itself where that changes answers.

    Which convolution a batch norm follows is seen while the model is shown a picture
    (1, channels, side, side).
    """
    with torch.no_grad(), single_precision():
        answer, pairs = _followed(model, picture)
        if not pairs:
            return model
        folded = copy.deepcopy(model)
        for convolution, norm in pairs:
            _fold(folded, convolution, norm)
        return folded if _is_same(folded(picture), answer) else model


def fold_frozen_norms(model: nn.Module, picture: torch.Tensor) -> None:
    """Let convolutions do the work of the batch norms behind them that never leave evaluation.

    Parameters, buffers and their names stay, and all of them learn that did; copies of the model
    compute with their own. The picture is as for `fold_batch_norms`; a model whose answer to it
    would change, or is zero whatever is folded, stays as it is.
    """
    was_training = model.training
    frozen = {name for name, norm in model.train().named_modules() if not norm.training}
    model.eval()
    with torch.no_grad(), single_precision():
        answer, pairs = _followed(model, picture)
        changed: list[nn.Module] = []
        for names in pairs:
            convolution, norm = (model.get_submodule(name) for name in names)
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            padding = _padding(convolution)
            if names[1] not in frozen or padding is None:
                continue
            # Of the instances alone; a copy's are bound to the copy.
            together = partial(_convolve_and_norm, convolution, norm, *padding)
            convolution.forward = together  # type: ignore[method-assign]
            norm.forward = partial(_after_norm, norm)  # type: ignore[method-assign]
            changed += convolution, norm
        if not _is_same(model(picture), answer):
            for module in changed:
                del module.forward
    model.train(was_training)


def with_norms(model: nn.Module) -> nn.Module:
    """A copy that computes its norms by themselves, as the saved model does, or itself."""
    if not any(map(_is_folded, model.modules())):
        return model
    copied = copy.deepcopy(model)
    for module in filter(_is_folded, copied.modules()):
        del module.forward
    return copied


def _is_folded(module: nn.Module) -> bool:
    """Whether `fold_frozen_norms` has changed what a module computes."""
    forward = vars(module).get("forward")
    return isinstance(forward, partial) and forward.func in (_convolve_and_norm, _after_norm)


def _is_same(answer: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two answers differ by rounding alone; two that are zero say nothing."""
    largest = other.abs().max()
    return bool((largest > 0) & ((answer - other).abs().max() <= ROUNDING * largest))


def _padding(convolution: nn.Conv2d) -> Padding | None:
    """Rows and columns of zeros around pictures, or what pads them; None for other kinds."""
    rows_columns = convolution.padding
    if isinstance(rows_columns, str) or convolution.padding_mode != "zeros":
        return None
    rows, columns = rows_columns
    if type(convolution) is nn.Conv2d:
        return (rows, columns), False
    if type(convolution).__module__.startswith("timm."):
        from timm.layers.conv2d_same import Conv2dSame

        return ((0, 0), True) if type(convolution) is Conv2dSame else None
    return None


def _as_tensorflow_pads(pictures: torch.Tensor, convolution: nn.Conv2d) -> torch.Tensor:
    """Pictures with as many zeros around them as give an answer of side / stride, rounded up.

    Half of them before, and half of them, and an odd one, behind.
    """
    missing = [
        max((-(-side // stride) - 1) * stride + (size - 1) * dilation + 1 - side, 0)
        for side, size, stride, dilation in zip(
            pictures.shape[-2:],
            convolution.kernel_size,
            convolution.stride,
            convolution.dilation,
            strict=True,
        )
    ]
    (height, width), (rows, columns) = pictures.shape[-2:], missing
    if torch.is_grad_enabled() and pictures.requires_grad:
        before = columns // 2, rows // 2
        around = before[0], columns - before[0], before[1], rows - before[1]
        return nn.functional.pad(pictures, around)
    return part_of(pictures, rows // 2, columns // 2, height + rows, width + columns)


def _convolve_and_norm(
    convolution: nn.Conv2d,
    norm: nn.BatchNorm2d,
    padding: tuple[int, int],
    pads: bool,
    pictures: torch.Tensor,
) -> torch.Tensor:
    """What a norm in evaluation mode makes of a convolution, by weights of both."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * norm.weight
    mean = norm.running_mean if convolution.bias is None else norm.running_mean - convolution.bias
    return convolve(
        _as_tensorflow_pads(pictures, convolution) if pads else pictures,
        convolution.weight * factor.view(-1, 1, 1, 1),
        norm.bias - mean * factor if norm.affine else -mean * factor,
        convolution.stride,  # type: ignore[arg-type]
        padding,
        convolution.dilation,  # type: ignore[arg-type]
        convolution.groups,
    )


def _after_norm(norm: nn.BatchNorm2d, pictures: torch.Tensor) -> torch.Tensor:
    """What else than normalise a norm of timm's does."""
    drop, act = getattr(norm, "drop", None), getattr(norm, "act", None)
    if drop is not None:
        pictures = drop(pictures)
    if type(act) is nn.ReLU6 and pictures.requires_grad:
        return nn.functional.relu6(pictures)  # in place it would copy what its gradient needs
    return pictures if act is None else torch.as_tensor(act(pictures))


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
