"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) in five variants, for pictures of 8 pixels on.

- `original`: c2, c4 and c5 in two groups, as the two GPUs of the article had it; local response
  norm by default.
- `single_tower`, also called `default`: the same without groups and, by default, without
  normalisation.
- `single_gpu`: no groups, "same" padding everywhere, batch norm by default and after each
  activation, dropout after every pool and every hidden dense layer; the fifth convolution stands
  bare before its pool, with neither activation nor norm.
- `batch_norm`: the same with activation and norm behind the fifth convolution, too.
- `torchvision`: the narrower single tower of torchvision (64, 192, 384, 256, 256 channels, the
  first layer padded by two), whose pretrained weights fit it.

Any of them takes any normalisation: local response norm stands after pools 1 and 2 (convolution,
activation, pool, norm), the others between each hidden layer and its activation (`single_gpu` and
`batch_norm`: after it). At 227 pixels, width 1 and 1,000 classes `original` has 60,965,224
parameters, the article's table.

Smaller pictures: the first layer's kernel and stride shrink with the picture (11 and 4 from 128
pixels on, 5 and 2 from 48 on, 3 and 1 below), the smaller two padded by half the kernel, so that a
useful map is left behind the three pools. Pools overlap by default, 3x3 windows two pixels apart;
one is left out where the map is smaller than its window. Above 227 pixels the last map is averaged
to 6 by 6, so that the dense layers keep their size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.training.layers import (
    Stack,
    local_response_norm,
    require_size,
    require_variant,
    scaled,
)

if TYPE_CHECKING:
    from torch import nn

    from optuna_study.config.settings import ModelSettings

VARIANTS = ("default", "single_tower", "original", "single_gpu", "batch_norm", "torchvision")
DEFAULTS = {
    "normalisation": {"original": "lrn", "single_gpu": "batch", "batch_norm": "batch"},
    "normalisation_place": {"single_gpu": "after", "batch_norm": "after"},
    "pooling": {"": "overlapping"},
}
_SINGLE_GPU = ("single_gpu", "batch_norm")

LARGEST_MAP = 6
DENSE_UNITS = 4096

_CHANNELS = (96, 256, 384, 384, 256)
_TORCHVISION_CHANNELS = (64, 192, 384, 256, 256)
_KERNELS = (5, 3, 3, 3)  # behind the first layer, whose kernel follows the picture's size
_GROUPED = (1, 3, 4)  # layers of `original` in two groups, counted from 0
_POOLED = (0, 1, 4)
_RESPONSE = (0, 1)  # behind which local response norm stands


def build(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Sequential:
    """An AlexNet from (N, channels, image_size, image_size) to (N, classes) logits.

    Raises:
        UsageError: an unknown variant or activation, or pictures below 8 pixels.
    """
    require_variant(settings, VARIANTS)
    require_size(settings, image_size, 8)
    single_gpu = settings.variant in _SINGLE_GPU
    stack = Stack(settings, channels, image_size, DEFAULTS)
    for layer in range(len(_CHANNELS)):
        _convolution(stack, layer, image_size)
        if layer in _POOLED:
            stack.pool()
        if layer in _RESPONSE and stack.normalisation == "lrn":
            stack.layers.append(local_response_norm(settings))
        if layer in _POOLED and single_gpu:
            stack.drop()
    stack.flatten(LARGEST_MAP)
    for _ in range(2):
        stack.dense(hidden_channels(DENSE_UNITS, settings.width))
    return stack.classify(classes)


def hidden_channels(channels: int, width: float) -> int:
    """A hidden channel count at a width: a multiple of 8, which two groups divide."""
    return scaled(channels, width, multiple=8)


def _convolution(stack: Stack, layer: int, image_size: int) -> None:
    settings = stack.settings
    table = _TORCHVISION_CHANNELS if settings.variant == "torchvision" else _CHANNELS
    kernel, stride = _stem(image_size) if layer == 0 else (_KERNELS[layer - 1], 1)
    padding = kernel // 2
    if kernel == 11 and settings.variant not in _SINGLE_GPU:
        # The article does not pad its first layer, torchvision by two pixels; "same" is five.
        padding = 2 if settings.variant == "torchvision" else 0
    stack.convolution(
        hidden_channels(table[layer], settings.width),
        kernel,
        stride=stride,
        padding=padding,
        groups=2 if layer in _GROUPED and settings.variant == "original" else 1,
        response=False,
        bare=settings.variant == "single_gpu" and layer == len(_CHANNELS) - 1,
    )


def _stem(image_size: int) -> tuple[int, int]:
    """Kernel and stride of the first layer."""
    if image_size >= 128:
        return 11, 4
    return (5, 2) if image_size >= 48 else (3, 1)
