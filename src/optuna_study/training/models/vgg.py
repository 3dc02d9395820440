"""VGG (Simonyan, Zisserman 2014) from lists of channels: blocks of convolution, norm, activation.

- `small`, also called `default`: eight 3x3 convolutions and four 2x2 pools for pictures of 32
  pixels; the fifth pool of eleven-layer VGG is dropped, so that 2 x 2 x 512 features reach the one
  dense layer. Batch norm by default; dropout, where there is any, falls on these features.
- `vgg11`, `vgg13`, `vgg16`, `vgg19`: as torchvision has them, with two hidden dense layers of
  4,096 and, by default, without normalisation; `normalisation = "batch"` makes their `_bn` forms,
  which leave the dense layers alone. Maps above 7 by 7 are averaged to that size. At 224 pixels
  and 1,000 classes `vgg16` has 138,357,544 parameters.

A pool is left out where a map is a single pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.training.layers import Stack, require_variant, scaled

if TYPE_CHECKING:
    from torch import nn

    from optuna_study.config.settings import ModelSettings

VARIANTS = ("default", "small", "vgg11", "vgg13", "vgg16", "vgg19")
DEFAULTS = {"normalisation": {"default": "batch", "small": "batch"}}

POOL = 0
LARGEST_MAP = 7
DENSE_UNITS = 4096
_SMALL = (64, POOL, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512)
_DEPTHS = {  # convolutions in each of the five stages
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_CHANNELS = (64, 128, 256, 512, 512)


def build(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Sequential:
    """A VGG from (N, channels, image_size, image_size) to (N, classes) logits.

    Raises:
        UsageError: an unknown variant or activation.
    """
    require_variant(settings, VARIANTS)
    depths = _DEPTHS.get(settings.variant)
    stack = Stack(settings, channels, image_size, DEFAULTS)
    for count in _configuration(settings.variant):
        if count == POOL:
            stack.pool()
        else:
            stack.convolution(scaled(count, settings.width), 3)
    stack.flatten(LARGEST_MAP)
    if depths is None:
        stack.drop()
        return stack.classify(classes)
    for _ in range(2):
        stack.dense(scaled(DENSE_UNITS, settings.width), normalised=False)
    return stack.classify(classes)


def _configuration(variant: str) -> tuple[int, ...]:
    """Channels of one convolution after the other, and POOL for a pool."""
    depths = _DEPTHS.get(variant)
    if depths is None:
        return _SMALL
    stages = zip(_CHANNELS, depths, strict=True)
    return tuple(count for channels, depth in stages for count in (*[channels] * depth, POOL))
