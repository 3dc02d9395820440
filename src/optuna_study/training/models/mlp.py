"""Fully connected nets: pixels in one row, hidden layers, one logit a class.

A variant's name is the units of its hidden layers, from the first on: `784-200-10` of the MNIST
article is `200`, its course counterpart with two hidden layers of eight is `8-8`. `default` is
`200`. Each hidden layer has its normalisation, activation and dropout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.training.layers import Stack, require_variant, scaled

if TYPE_CHECKING:
    from torch import nn

    from optuna_study.config.settings import ModelSettings

VARIANTS = ("default", "8-8", "50", "100", "200", "128-64", "512-256")


def build(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Sequential:
    """A fully connected net from (N, channels, image_size, image_size) to (N, classes) logits.

    Raises:
        UsageError: an unknown variant or activation.
    """
    require_variant(settings, VARIANTS)
    variant = "200" if settings.variant == "default" else settings.variant
    stack = Stack(settings, channels, image_size)
    stack.flatten()
    for units in variant.split("-"):
        stack.dense(scaled(int(units), settings.width))
    return stack.classify(classes)
