"""What models are built from: activations by name, normalisations, a fast local response norm.

Normalisations of a hidden layer with C channels:
- `lrn`: local response normalisation over channels, in convolutions alone;
- `batch`: over the batch and the positions, per channel;
- `layer`: over channels and positions together, per picture (one group);
- `group`: over positions and groups of channels, per picture; the number of groups is the greatest
  common divisor of C and 32, so every group has the same size and 32 is the most.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter, OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from optuna_study.config.catalogue import (
    ACTIVATIONS,
    DEFAULT,
    OWN_VALUES,
    chosen,
    import_reference,
    is_reference,
)
from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from optuna_study.config.settings import ModelSettings

MOST_GROUPS = 32
NOTHING_ELSE: Mapping[str, Mapping[str, str]] = MappingProxyType({})


class Elementwise(nn.Module):
    """A plain tensor function as a layer."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Apply the function."""
        return self.function(values)


class Maxout(nn.Module):
    """The larger of two channels next to each other: (N, 2 C, ...) to (N, C, ...).

    The layer before it gives twice the channels, two sets of weights for each of the maxout's own
    (Goodfellow et al. 2013). Neighbours, not halves, so that the two groups of a grouped
    convolution stay apart.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Halve the channels."""
        return torch.maximum(values[:, 0::2], values[:, 1::2])


def widening(settings: ModelSettings) -> int:
    """How many times the channels that an activation gives the layer before it must have."""
    entry = ACTIVATIONS.get(settings.activation)
    return 1 if entry is None else entry.widening


def activation(settings: ModelSettings) -> nn.Module:
    """A new activation layer of the settings.

    A reference names a layer class, a function without arguments that makes a layer, or a function
    from tensor to tensor.

    Raises:
        UsageError: an unknown name, or a reference to something else.
    """
    name = settings.activation
    if is_reference(name):
        return _own_activation(name)
    entry = ACTIVATIONS.get(name)
    if entry is None:
        raise UsageError(f"activation '{name}': unknown, {did_you_mean(name, ACTIVATIONS)}")
    values = {argument: getattr(settings, key) for argument, key in entry.settings.items()}
    layer: nn.Module = import_reference(entry.reference)(**entry.fixed, **values)
    return layer


def _own_activation(reference: str) -> nn.Module:
    target = import_reference(reference)
    if not callable(target):
        raise UsageError(f"activation '{reference}': not a function or a layer class")
    if not inspect.isclass(target) and _needs_an_argument(target):
        return Elementwise(target)
    layer = target()
    if not isinstance(layer, nn.Module):
        raise UsageError(
            f"activation '{reference}': gave {type(layer).__name__}; "
            "a function without arguments must give a torch.nn.Module"
        )
    return layer


def _needs_an_argument(function: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # torch's built-in functions tell no signature; all of them take a tensor
        return True
    return any(
        parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in parameters
    )


def normalisation(
    name: str, channels: int, *, dense: bool = False, lrn: LocalResponseNorm | None = None
) -> nn.Module | None:
    """A new normalisation layer with scale and shift per channel; None for `none`.

    For `lrn`, which has neither scale nor shift, it is what `lrn` gives, in convolutions alone.
    """
    if name == "batch":
        return nn.BatchNorm1d(channels) if dense else nn.BatchNorm2d(channels)
    if name == "layer":
        return nn.LayerNorm(channels) if dense else nn.GroupNorm(1, channels)
    if name == "group":
        return nn.GroupNorm(math.gcd(MOST_GROUPS, channels), channels)
    return lrn if name == "lrn" and not dense else None


def local_response_norm(settings: ModelSettings) -> LocalResponseNorm:
    """AlexNet's norm over five channels: b = a / (2 + alpha * sum of a^2)^0.75.

    alpha is 1e-4 in the article's formula, and a fifth of it in torch's.
    """
    return LocalResponseNorm(alpha=1e-4 * (5 if settings.lrn_formula == "article" else 1))


class LocalResponseNorm(nn.Module):
    """`torch.nn.LocalResponseNorm` with beta = 0.75 over an odd window, several times faster.

    y = x / (k + alpha / n * s)^0.75, where s sums x^2 over the n channels around each one.
    Forward and backward of 8 maps of 96 x 27 x 27 on one thread: 4 ms, torch's own 20 ms.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, k: float = 2.0) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"a window of {size} channels has no centre; give an odd size")
        self.size, self.alpha, self.k = size, alpha, k

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, H, W)."""
        result: torch.Tensor = _Response.apply(values, self.size, self.alpha, self.k)
        return result

    def extra_repr(self) -> str:
        """The constants, for printing."""
        return f"{self.size}, alpha={self.alpha}, beta=0.75, k={self.k}"


class _Response(torch.autograd.Function):
    """Local response norm with its derivative in closed form.

    With d = k + alpha / n * s and p = d^-0.75: dx = p g - 2 * 0.75 * alpha / n * x * window(g x p
    / d). The window is symmetric, so the derivative costs one more window sum instead of a
    differentiated pooling.
    """

    @staticmethod
    def forward(
        context: Any, values: torch.Tensor, size: int, alpha: float, k: float
    ) -> torch.Tensor:
        scale = window_sum(values * values, size).mul_(alpha / size).add_(k)
        # d^-0.75 from two square roots: several times cheaper than pow.
        power = scale.rsqrt().mul_(scale.sqrt().rsqrt_())
        context.save_for_backward(values, scale, power)
        context.size, context.alpha = size, alpha
        return values * power

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, scale, power = context.saved_tensors
        direct = gradient * power
        around = window_sum((direct * values).div_(scale), context.size)
        around.mul_(values).mul_(-2 * 0.75 * context.alpha / context.size)
        return direct.add_(around), None, None, None


def window_sum(values: torch.Tensor, size: int) -> torch.Tensor:
    """The sum over the `size` channels around each channel of (N, C, H, W), fewer at the edges."""
    total = values.clone()
    for shift in range(1, min(size // 2, values.shape[1] - 1) + 1):
        total[:, shift:] += values[:, :-shift]
        total[:, :-shift] += values[:, shift:]
    return total


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


class Block(nn.Module):
    """Two convolutions whose result is added to the block's input; `closing` activates the sum.

    `shortcut` brings the input to the size of the result where the two differ.
    """

    def __init__(self, body: nn.Sequential, shortcut: nn.Module, closing: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.closing = body, shortcut, closing

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, C', H', W')."""
        result: torch.Tensor = self.closing(self.body(values) + self.shortcut(values))
        return result


class Stack:
    """A chain of layers over (N, channels, size, size).

    `defaults` is what the settings' `default` stands for in the variants of the model at hand.
    """

    def __init__(
        self,
        settings: ModelSettings,
        channels: int,
        size: int,
        defaults: Mapping[str, Mapping[str, str]] = NOTHING_ELSE,
    ) -> None:
        self.settings, self.channels, self.size = settings, channels, size
        self.layers: list[nn.Module] = []
        own = {name: chosen(defaults, name, settings.variant) for name in OWN_VALUES}
        given = {name: getattr(settings, name) for name in OWN_VALUES}
        meant = {name: own[name] if text == DEFAULT else text for name, text in given.items()}
        self.normalisation, self.position = meant["normalisation"], meant["normalisation_place"]
        self.pooling = meant["pooling"]

    def convolution(
        self,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        response: bool = True,
        bare: bool = False,
    ) -> None:
        """A convolution with normalisation and activation; "same" padding unless another is given.

        A `bare` one has neither.

        `response` lets local response norm, where it is asked for, replace the other
        normalisations.
        """
        padding = kernel // 2 if padding is None else padding
        produced = channels if bare else channels * widening(self.settings)
        self.layers.append(
            nn.Conv2d(self.channels, produced, kernel, stride, padding, groups=groups)
        )
        self.size = (self.size + 2 * padding - kernel) // stride + 1
        self.layers += [] if bare else self.activated(channels, response=response)
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
        after = self.position == "after"
        normalised = channels * (1 if after else widening(self.settings))
        lrn = local_response_norm(self.settings) if response else None
        norm = normalisation(self.normalisation, normalised, dense=dense, lrn=lrn)
        pair = [norm, activation(self.settings)]
        if after:
            pair.reverse()
        return [layer for layer in pair if layer is not None]

    def classify(self, classes: int) -> nn.Sequential:
        """The whole model, `features` and `classifier`: a last dense layer gives the logits."""
        layers = [*self.layers, nn.Linear(self.channels, classes)]
        flat = next(at for at, layer in enumerate(layers) if isinstance(layer, nn.Flatten))
        parts = {"features": chain(layers[:flat]), "classifier": chain(layers[flat:])}
        return _named({name: part for name, part in parts.items() if len(part)})


_KINDS: Mapping[str, tuple[type[nn.Module], ...]] = MappingProxyType(
    {
        "conv": (nn.Conv2d,),
        "linear": (nn.Linear,),
        "norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, LocalResponseNorm),
        "pool": (nn.MaxPool2d, nn.AdaptiveAvgPool2d),
        "flatten": (nn.Flatten,),
        "dropout": (nn.Dropout,),
        "block": (Block,),
    }
)


def chain(layers: Iterable[nn.Module]) -> nn.Sequential:
    """Layers one after another, each named by its kind and counted: `conv1`, `norm1`, `conv2`.

    What is no other kind is an activation.
    """
    counts: Counter[str] = Counter()
    named = {}
    for layer in layers:
        found = (kind for kind, types in _KINDS.items() if isinstance(layer, types))
        kind = next(found, "activation")
        counts[kind] += 1
        named[f"{kind}{counts[kind]}"] = layer
    return _named(named)


def _named(layers: Mapping[str, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))
