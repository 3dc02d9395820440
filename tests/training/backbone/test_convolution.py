"""Convolutions with a bias: values and gradients are torch's own, but for rounding."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional

from optuna_study.training.backbone.convolution import convolve, part_of


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [
        ((5, 5), (1, 1), (2, 2), (1, 1), 6),
        ((5, 5), (2, 2), (0, 0), (1, 1), 6),
        ((3, 7), (1, 2), (1, 3), (1, 1), 6),
        ((4, 4), (2, 1), (1, 0), (1, 1), 6),
        ((5, 5), (1, 1), (4, 4), (2, 2), 6),
        ((5, 5), (1, 1), (2, 2), (1, 1), 3),
        ((1, 1), (1, 1), (0, 0), (1, 1), 1),
    ],
)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_are_torchs(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    layout: torch.memory_format,
) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    pictures = drawn(4, 6, 11, 10).detach().contiguous(memory_format=layout).requires_grad_()
    weight, bias = drawn(6, 6 // groups, *kernel), drawn(6)
    settings = stride, padding, dilation, groups
    ours = convolve(pictures, weight, bias, *settings)
    theirs = functional.conv2d(pictures, weight, bias, *settings)
    assert torch.equal(ours, theirs)
    weights = drawn(*ours.shape).detach()
    given = pictures, weight, bias
    found = torch.autograd.grad((ours * weights).sum(), given)
    expected = torch.autograd.grad((theirs * weights).sum(), given)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [1, 3])
def test_gradients_are_torchs_where_a_kernel_is_wider_than_pictures(side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = partial(torch.randn, generator=generator, dtype=torch.float64)
    given = drawn(2, 4, side, side), drawn(4, 1, 13, 13), drawn(4)
    for tensor in given:
        tensor.requires_grad_()
    ours = convolve(*given, (1, 1), (6, 6), (1, 1), 4)
    theirs = functional.conv2d(*given, (1, 1), (6, 6), (1, 1), 4)
    found = torch.autograd.grad(ours.square().sum(), given)
    expected = torch.autograd.grad(theirs.square().sum(), given)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("top", "left", "height", "width"),
    [
        *((1, 2, 8, 9), (-2, 0, 3, 6), (0, -1, 9, 4), (-1, 1, 9, 4)),
        *((6, 0, 4, 6), (0, 9, 5, 7), (-5, 0, 3, 6), (0, -8, 5, 3)),  # none of them is seen
    ],
)
def test_a_part_of_pictures_is_what_padding_gives(
    top: int, left: int, height: int, width: int
) -> None:
    pictures = torch.arange(120.0).view(2, 2, 5, 6)
    outside = 10  # more than any of them is moved
    expected = functional.pad(pictures, (outside,) * 4)[
        :, :, outside - top : outside - top + height, outside - left : outside - left + width
    ]
    for layout in (torch.contiguous_format, torch.channels_last):
        found = part_of(pictures.contiguous(memory_format=layout), top, left, height, width)
        assert torch.equal(found, expected)
        assert found.is_contiguous(memory_format=layout)
