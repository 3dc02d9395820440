"""A model in the making: appends layers, and knows the shape behind the last one.

Every model of `training.models` that is a chain of layers is written with it, so that activation,
normalisation, dropout and width mean the same in all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean
from optuna_study.training.layers import activation, normalisation, widening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.config.settings import ModelSettings


POOL_WINDOWS = {"plain": 2, "overlapping": 3}
POOL_STRIDE = 2


def require_variant(settings: ModelSettings, variants: Sequence[str]) -> None:
    """Refuse a variant that a model does not have.

    Raises:
        UsageError: it is none of `variants`.
    """
    if settings.variant not in variants:
        hint = did_you_mean(settings.variant, variants)
        raise UsageError(
            f"variant '{settings.variant}': {settings.name} has no such variant, {hint}"
        )


def require_size(settings: ModelSettings, image_size: int, least: int) -> None:
    """Refuse pictures that leave nothing behind a model's layers.

    Raises:
        UsageError: they are smaller than `least` pixels.
    """
    if image_size < least:
        raise UsageError(
            f"image_size {image_size}: {settings.name} needs pictures of at least {least} pixels"
        )


def scaled(count: int, width: float, multiple: int = 1) -> int:
    """A count of channels or units at a width: a multiple of `multiple`, and one of them at least.

    >>> scaled(100, 1.0), scaled(100, 0.25), scaled(96, 0.5, multiple=8), scaled(6, 0.01)
    (100, 25, 48, 1)
    """
    return max(multiple, round(count * width / multiple) * multiple)


class Stack:
    """A chain of layers over (N, channels, size, size).

    `own_normalisation`, `own_place` and `own_pooling` are the model's own, which the settings'
    `default` stands for.
    """

    def __init__(
        self,
        settings: ModelSettings,
        channels: int,
        size: int,
        *,
        own_normalisation: str = "none",
        own_place: str = "before",
        own_pooling: str = "plain",
    ) -> None:
        self.settings, self.channels, self.size = settings, channels, size
        self.layers: list[nn.Module] = []
        name, place = settings.normalisation, settings.normalisation_place
        self.normalisation = own_normalisation if name == "default" else name
        self.place = own_place if place == "default" else place
        self.pooling = own_pooling if settings.pooling == "default" else settings.pooling

    def convolution(
        self,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        response: bool = True,
    ) -> None:
        """A convolution with normalisation and activation; "same" padding unless another is given.

        `response` lets local response norm, where it is asked for, stand in the place of the other
        normalisations.
        """
        padding = kernel // 2 if padding is None else padding
        produced = channels * widening(self.settings)
        self.layers.append(
            nn.Conv2d(self.channels, produced, kernel, stride, padding, groups=groups)
        )
        self.size = (self.size + 2 * padding - kernel) // stride + 1
        self.layers += self.activated(channels, response=response)
        self.channels = channels

    def pool(self) -> None:
        """A max-pool, left out where the map is smaller than its window."""
        window = POOL_WINDOWS[self.pooling]
        if self.size >= window:
            self.layers.append(nn.MaxPool2d(window, POOL_STRIDE))
            self.size = (self.size - window) // POOL_STRIDE + 1

    def flatten(self, largest: int | None = None) -> None:
        """From maps to one row a picture; maps above `largest` are averaged to that size."""
        if largest is not None and self.size > largest:
            self.layers.append(nn.AdaptiveAvgPool2d(largest))
            self.size = largest
        self.layers.append(nn.Flatten())
        self.channels *= self.size * self.size

    def dense(self, units: int, *, normalised: bool = True) -> None:
        """A hidden dense layer with normalisation, if it is to have any, activation, dropout."""
        self.layers.append(nn.Linear(self.channels, units * widening(self.settings)))
        activated = self.activated(units, dense=True)
        self.layers += activated if normalised else [activation(self.settings)]
        self.channels = units
        self.drop()

    def drop(self) -> None:
        """Dropout, where the settings ask for any."""
        if self.settings.dropout > 0:
            self.layers.append(nn.Dropout(self.settings.dropout))

    def activated(
        self, channels: int, *, dense: bool = False, response: bool = True
    ) -> list[nn.Module]:
        """Normalisation and activation in their order; `channels` are those the activation gives.

        The layer before must give `channels * layers.widening(settings)` of them.
        """
        after = self.place == "after"
        normalised = channels * (1 if after else widening(self.settings))
        norm = normalisation(self.normalisation, normalised, dense=dense, response=response)
        pair = [norm, activation(self.settings)]
        if after:
            pair.reverse()
        return [layer for layer in pair if layer is not None]

    def classify(self, classes: int) -> nn.Sequential:
        """The whole model: a last dense layer gives the logits."""
        return nn.Sequential(*self.layers, nn.Linear(self.channels, classes))
