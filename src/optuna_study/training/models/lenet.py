"""LeNet-5 (LeCun et al. 1998) for pictures of any number of channels.

Convolutions of 6 and 16 channels, 5x5, each with a 2x2 max-pool, then dense layers of 120 and 84.
At 32 pixels nothing is padded and the last map is 5 by 5; below, the first convolution is padded
by two, as is usual for MNIST's 28, and from 9 pixels down the second one, too. `default` is all
there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.training.layers import Stack, require_size, require_variant, scaled

if TYPE_CHECKING:
    from torch import nn

    from optuna_study.config.settings import ModelSettings

VARIANTS = ("default",)

KERNEL = 5
NATIVE_SIZE = 32
_CONVOLUTIONS = (6, 16)
_DENSE = (120, 84)


def build(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Sequential:
    """A LeNet from (N, channels, image_size, image_size) to (N, classes) logits.

    Raises:
        UsageError: an unknown variant or activation, or pictures below 4 pixels.
    """
    require_variant(settings, VARIANTS)
    require_size(settings, image_size, 4)
    stack = Stack(settings, channels, image_size)
    for layer, count in enumerate(_CONVOLUTIONS):
        small = image_size < NATIVE_SIZE if layer == 0 else stack.size < KERNEL
        padding = KERNEL // 2 if small else 0
        stack.convolution(scaled(count, settings.width), KERNEL, padding=padding)
        stack.pool()
    stack.flatten()
    for units in _DENSE:
        stack.dense(scaled(units, settings.width))
    return stack.classify(classes)
