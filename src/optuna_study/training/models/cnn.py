"""The small convolutional net of a course exercise: two 5x5 convolutions, each with a 2x2 pool.

On MNIST's 28 pixels the maps are 24, 12, 8 and 4 wide, so 4 x 4 features a channel reach the one
hidden dense layer of 50. `default` has 6 channels in both convolutions, about as many parameters
as a fully connected net with two hidden layers of eight; `wide` has 16 and 32. Maps too small for
a 5x5 kernel are padded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.training.layers import Stack, require_size, require_variant, scaled

if TYPE_CHECKING:
    from torch import nn

    from optuna_study.config.settings import ModelSettings

VARIANTS = ("default", "wide")

KERNEL = 5
DENSE_UNITS = 50
_CHANNELS = {"default": (6, 6), "wide": (16, 32)}


def build(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Sequential:
    """A small net from (N, channels, image_size, image_size) to (N, classes) logits.

    Raises:
        UsageError: an unknown variant or activation, or pictures below 4 pixels.
    """
    require_variant(settings, VARIANTS)
    require_size(settings, image_size, 4)
    stack = Stack(settings, channels, image_size)
    for count in _CHANNELS[settings.variant]:
        padding = 0 if stack.size > KERNEL else KERNEL // 2
        stack.convolution(scaled(count, settings.width), KERNEL, padding=padding)
        stack.pool()
    stack.flatten()
    stack.dense(scaled(DENSE_UNITS, settings.width))
    return stack.classify(classes)
