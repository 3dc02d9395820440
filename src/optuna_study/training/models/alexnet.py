"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) in three variants, for pictures of 8 pixels on.

- `original`: c2, c4 and c5 in two groups, as the two GPUs of the article had it; local response
  norm by default.
- `single_tower`, also called `default`: the same without groups and, by default, without
  normalisation.
- `batch_norm`: the single-GPU variant: no groups, "same" padding everywhere, batch norm by default
  and after each activation, dropout after every pool and every hidden dense layer.

Any of them takes any normalisation: local response norm stands after pools 1 and 2 (convolution,
activation, pool, norm), the others between each hidden layer and its activation (`batch_norm`:
after it). At 227 pixels, width 1 and 1,000 classes `original` has 60,965,224 parameters, the
article's table.

Smaller pictures: the first layer's kernel and stride shrink with the picture (11 and 4 from 128
pixels on, 5 and 2 from 48 on, 3 and 1 below), the smaller two padded by half the kernel, so that a
useful map is left behind the three pools. A pool is left out where the map is smaller than its
window. Above 227 pixels the last map is averaged to 6 by 6, so that the dense layers keep their
size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from optuna_study.errors import UsageError, did_you_mean
from optuna_study.training.layers import LocalResponseNorm, activation, normalisation

if TYPE_CHECKING:
    from optuna_study.training.config import ModelSettings

VARIANTS = ("default", "single_tower", "original", "batch_norm")

POOL_SIZE, POOL_STRIDE = 3, 2
LARGEST_MAP = 6
DENSE_UNITS = 4096


@dataclass(frozen=True)
class _Layer:
    channels: int
    kernel: int
    grouped: bool = False  # in two groups in `original`
    pooled: bool = False
    response: bool = False  # the place of local response norm


_BODY = (
    _Layer(256, 5, grouped=True, pooled=True, response=True),
    _Layer(384, 3),
    _Layer(384, 3, grouped=True),
    _Layer(256, 3, grouped=True, pooled=True),
)
_DEFAULT_NORMALISATION = {"original": "lrn", "batch_norm": "batch"}


def build(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Sequential:
    """An AlexNet from (N, channels, image_size, image_size) to (N, classes) logits.

    Raises:
        UsageError: an unknown variant or activation, or pictures below 8 pixels.
    """
    if settings.variant not in VARIANTS:
        hint = did_you_mean(settings.variant, VARIANTS)
        raise UsageError(f"variant '{settings.variant}': alexnet has no such variant, {hint}")
    if image_size < 8:
        raise UsageError(f"image_size {image_size}: alexnet needs pictures of at least 8 pixels")
    builder = _Builder(settings, channels, image_size)
    for layer in (_stem(image_size), *_BODY):
        builder.convolution(layer)
    builder.flatten()
    for _ in range(2):
        builder.dense(DENSE_UNITS)
    builder.layers.append(nn.Linear(builder.channels, classes))
    return nn.Sequential(*builder.layers)


def hidden_channels(channels: int, width: float) -> int:
    """A hidden channel count at a width: a multiple of 8, which two groups divide."""
    return max(8, round(channels * width / 8) * 8)


def _stem(image_size: int) -> _Layer:
    kernel = 11 if image_size >= 128 else 5 if image_size >= 48 else 3
    return _Layer(96, kernel, pooled=True, response=True)


_STEM_STRIDE = {11: 4, 5: 2, 3: 1}


class _Builder:
    """Appends layers, and knows the shape behind the last one."""

    def __init__(self, settings: ModelSettings, channels: int, size: int) -> None:
        self.settings, self.channels, self.size = settings, channels, size
        self.layers: list[nn.Module] = []
        self.article_d = settings.variant == "batch_norm"
        name = settings.normalisation
        if name == "default":
            name = _DEFAULT_NORMALISATION.get(settings.variant, "none")
        self.normalisation = name

    def convolution(self, layer: _Layer) -> None:
        """A convolution with its activation, normalisation, pool and dropout."""
        first = not self.layers
        stride = _STEM_STRIDE[layer.kernel] if first else 1
        # The article does not pad its 11x11 first layer; "same" padding and the small kernels do.
        plain = first and stride == 4 and not self.article_d
        padding = 0 if plain else layer.kernel // 2
        groups = 2 if layer.grouped and self.settings.variant == "original" else 1
        channels = hidden_channels(layer.channels, self.settings.width)
        self.layers.append(
            nn.Conv2d(self.channels, channels, layer.kernel, stride, padding, groups=groups)
        )
        self.channels = channels
        self.size = (self.size + 2 * padding - layer.kernel) // stride + 1
        self._activate(dense=False)
        if layer.pooled and self.size >= POOL_SIZE:
            self.layers.append(nn.MaxPool2d(POOL_SIZE, POOL_STRIDE))
            self.size = (self.size - POOL_SIZE) // POOL_STRIDE + 1
        if layer.response and self.normalisation == "lrn":
            self.layers.append(LocalResponseNorm(size=5, alpha=1e-4, k=2.0))
        if layer.pooled and self.article_d:
            self._drop()

    def flatten(self) -> None:
        """From maps to one row a picture."""
        if self.size > LARGEST_MAP:
            self.layers.append(nn.AdaptiveAvgPool2d(LARGEST_MAP))
            self.size = LARGEST_MAP
        self.layers.append(nn.Flatten())
        self.channels *= self.size * self.size

    def dense(self, units: int) -> None:
        """A hidden dense layer with its activation, normalisation and dropout."""
        units = hidden_channels(units, self.settings.width)
        self.layers.append(nn.Linear(self.channels, units))
        self.channels = units
        self._activate(dense=True)
        self._drop()

    def _activate(self, *, dense: bool) -> None:
        pair = [
            normalisation(self.normalisation, self.channels, dense=dense),
            activation(self.settings),
        ]
        if self.article_d:
            pair.reverse()
        self.layers += [layer for layer in pair if layer is not None]

    def _drop(self) -> None:
        if self.settings.dropout > 0:
            self.layers.append(nn.Dropout(self.settings.dropout))
