"""A convolution with a bias whose gradients take a CPU less time than torch's own.

Measured on a Xeon (Sapphire Rapids), one thread, torch 2.14, channels innermost: oneDNN takes 16
ms for the gradient of 5 x 5 depthwise weights (32 pictures of 1152 x 4 x 4) and 1.1 ms for that
of 5 x 3 ones, as its fast kernel ends at three columns; the sum of a bias's gradient takes 4 ms
within the weights' and 0.1 ms by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    Pair = tuple[int, int]

COLUMNS = 3
"""The widest depthwise kernel whose gradient oneDNN computes fast."""


def convolve(
    pictures: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> torch.Tensor:
    """As `torch.nn.functional.conv2d`, whose gradients differ by rounding alone."""
    settings = stride, padding, dilation, groups
    learns = torch.is_grad_enabled() and weight.requires_grad
    if learns and pictures.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        result: torch.Tensor = _Convolution.apply(pictures, weight, bias, settings)
        return result
    return functional.conv2d(pictures, weight, bias, *settings)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pictures: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        settings: tuple[Pair, Pair, Pair, int],
    ) -> torch.Tensor:
        ctx.save_for_backward(pictures, weight)
        ctx.settings = settings
        return functional.conv2d(pictures, weight, bias, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        pictures, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        wide = groups == len(weight) == pictures.shape[1] and weight.shape[-1] > COLUMNS
        wide = wide and dilation == (1, 1)
        of_pictures, of_weight = _gradients(
            gradient, pictures, weight, ctx.settings, (ctx.needs_input_grad[0], not wide)
        )
        if wide:
            of_weight = _wide_gradient(gradient, pictures, weight, stride, padding)
        return of_pictures, of_weight, gradient.sum((0, 2, 3)), None


def _gradients(
    gradient: torch.Tensor,
    pictures: torch.Tensor,
    weight: torch.Tensor,
    settings: tuple[Pair, Pair, Pair, int],
    wanted: tuple[bool, bool],
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Those of pictures and weight, as torch computes them."""
    if not any(wanted):
        return None, None
    stride, padding, dilation, groups = settings
    found: Sequence[torch.Tensor | None] = torch.ops.aten.convolution_backward(
        *(gradient, pictures, weight, None, stride, padding, dilation),
        *(False, (0, 0), groups, (*wanted, False)),
    )
    return found[0], found[1]


def part_of(pictures: torch.Tensor, top: int, left: int, height: int, width: int) -> torch.Tensor:
    """New pictures of a size, in which others stand so far from the top and the left.

    Zeros are around them, and what is beyond is cut. `torch.nn.functional.pad` fills all with
    zeros first, and twice copies what it cuts.
    """
    placed = torch.empty(
        (*pictures.shape[:2], height, width),
        dtype=pictures.dtype,
        device=pictures.device,
        memory_format=torch.channels_last
        if pictures.is_contiguous(memory_format=torch.channels_last)
        else torch.contiguous_format,
    )
    first_row, first_column = min(max(top, 0), height), min(max(left, 0), width)
    bottom = max(min(top + pictures.shape[2], height), first_row)
    right = max(min(left + pictures.shape[3], width), first_column)
    placed[:, :, first_row:bottom, first_column:right] = pictures[
        :, :, first_row - top : bottom - top, first_column - left : right - left
    ]
    for rows in (slice(0, first_row), slice(bottom, height)):
        placed[:, :, rows].zero_()
    for columns in (slice(0, first_column), slice(right, width)):
        placed[..., columns].zero_()
    return placed


def _wide_gradient(
    gradient: torch.Tensor,
    pictures: torch.Tensor,
    weight: torch.Tensor,
    stride: Pair,
    padding: Pair,
) -> torch.Tensor:
    """The gradient of depthwise weights (channels, 1, rows, columns), a few columns at a time."""
    rows, columns = weight.shape[-2:]
    height, width = (
        step * (size - 1) + reach
        for step, size, reach in zip(stride, gradient.shape[-2:], (rows, COLUMNS), strict=True)
    )
    top, whole = padding[0], torch.empty_like(weight)
    for first in (*range(0, columns - COLUMNS, COLUMNS), columns - COLUMNS):
        left = padding[1] - first
        # Padding of the convolution's own would leave the fast kernel where pictures are small.
        seen = part_of(pictures, top, left, height, width)
        part = slice(first, first + COLUMNS)
        _, found = _gradients(
            gradient, seen, weight[..., part], (stride, (0, 0), (1, 1), len(weight)), (False, True)
        )
        assert found is not None
        whole[..., part] = found
    return whole
