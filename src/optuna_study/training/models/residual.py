"""Residual nets (He et al. 2015) for small pictures: two 3x3 convolutions and a shortcut a block.

A first convolution of 16 channels, then three stages of 16, 32 and 64. The first block of the
second and third stage halves the map; there the shortcut is a 1x1 convolution with stride 2. The
last map is averaged. `default`, also called `resnet8`, has one block a stage, `resnet20` three,
`resnet32` five; `plain8`, `plain20` and `plain32` are the same convolutions without shortcuts.
Batch norm by default. Dropout, where there is any, falls on the averaged features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from optuna_study.training.layers import Block, Stack, chain, require_variant, scaled, widening

if TYPE_CHECKING:
    from optuna_study.config.settings import ModelSettings

VARIANTS = ("default", "resnet8", "resnet20", "resnet32", "plain8", "plain20", "plain32")
DEFAULTS = {"normalisation": {"": "batch"}}

_PLAIN = {"plain8": 1, "plain20": 3, "plain32": 5}  # blocks a stage
_BLOCKS = {"default": 1, "resnet8": 1, "resnet20": 3, "resnet32": 5, **_PLAIN}
_CHANNELS = (16, 32, 64)


def build(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Sequential:
    """A residual net from (N, channels, image_size, image_size) to (N, classes) logits.

    Raises:
        UsageError: an unknown variant or activation.
    """
    require_variant(settings, VARIANTS)
    stack = Stack(settings, channels, image_size, DEFAULTS)
    counts = [scaled(count, settings.width) for count in _CHANNELS]
    stack.convolution(counts[0], 3)
    for stage, count in enumerate(counts):
        for block in range(_BLOCKS[settings.variant]):
            stride = 2 if stage > 0 and block == 0 else 1
            if settings.variant in _PLAIN:
                stack.convolution(count, 3, stride=stride)
                stack.convolution(count, 3)
            else:
                _append(stack, count, stride)
    stack.flatten(largest=1)
    stack.drop()
    return stack.classify(classes)


def _append(stack: Stack, channels: int, stride: int) -> None:
    """Append a block; with maxout what is added has twice the channels that are left of it."""
    inside = Stack(stack.settings, stack.channels, stack.size, DEFAULTS)
    inside.convolution(channels, 3, stride=stride)
    added = channels * widening(stack.settings)
    body = [*inside.layers, nn.Conv2d(channels, added, 3, padding=1)]
    across: list[nn.Module] = []
    if stride > 1 or stack.channels != added:
        across.append(nn.Conv2d(stack.channels, added, 1, stride))
    closing = inside.activated(channels)
    if stack.position == "before":
        # Each way has a norm of its own, the activation comes after they are added.
        body += closing[:-1]
        across += inside.activated(channels)[:-1] if across else []
        closing = closing[-1:]
    shortcut = chain(across) if across else nn.Identity()
    stack.layers.append(Block(chain(body), shortcut, chain(closing)))
    stack.channels, stack.size = channels, inside.size
