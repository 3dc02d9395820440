"""A plain net for CIFAR-10: three stages of 3x3 "same" convolutions of 32 channels and a 2x2 pool.

`default` has two convolutions a stage; `batch_norm` has three, with batch norm between each and
its activation by default. `batch_norm_3_2_2` is that net as its article printed it: pools 2 and 3
take the second convolution of their stage, so that the third is none. `one_layer` has no stage at
all: its one dense layer, which all of them end with, looks at the pixels. Dropout, where there is
any, falls on what that layer sees. A pool is left out where a map is a single pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.training.layers import Stack, require_variant, scaled

if TYPE_CHECKING:
    from torch import nn

    from optuna_study.config.settings import ModelSettings

VARIANTS = ("default", "batch_norm", "batch_norm_3_2_2", "one_layer")
DEFAULTS = {"normalisation": {"batch_norm": "batch", "batch_norm_3_2_2": "batch"}}

CHANNELS = 32
_STAGES = {  # convolutions in each
    "default": (2, 2, 2),
    "batch_norm": (3, 3, 3),
    "batch_norm_3_2_2": (3, 2, 2),
    "one_layer": (),
}


def build(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Sequential:
    """A plain net from (N, channels, image_size, image_size) to (N, classes) logits.

    Raises:
        UsageError: an unknown variant or activation.
    """
    require_variant(settings, VARIANTS)
    stack = Stack(settings, channels, image_size, DEFAULTS)
    for convolutions in _STAGES[settings.variant]:
        for _ in range(convolutions):
            stack.convolution(scaled(CHANNELS, settings.width), 3)
        stack.pool()
    stack.flatten()
    stack.drop()
    return stack.classify(classes)
