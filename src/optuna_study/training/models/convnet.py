"""A plain net for CIFAR-10: three stages of 3x3 "same" convolutions of 32 channels and a 2x2 pool.

`default` has two convolutions a stage; `batch_norm` has three, with batch norm between each and
its activation by default. Dropout, where there is any, falls on the features before the last
layer, the only dense one. A pool is left out where a map is a single pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.training.stack import Stack, require_variant, scaled

if TYPE_CHECKING:
    from torch import nn

    from optuna_study.training.config import ModelSettings

VARIANTS = ("default", "batch_norm")

STAGES = 3
CHANNELS = 32


def build(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Sequential:
    """A plain net from (N, channels, image_size, image_size) to (N, classes) logits.

    Raises:
        UsageError: an unknown variant or activation.
    """
    require_variant(settings, VARIANTS)
    normalised = settings.variant == "batch_norm"
    stack = Stack(
        settings, channels, image_size, own_normalisation="batch" if normalised else "none"
    )
    for _ in range(STAGES):
        for _ in range(3 if normalised else 2):
            stack.convolution(scaled(CHANNELS, settings.width), 3)
        stack.pool()
    stack.flatten()
    stack.drop()
    return stack.classify(classes)
