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
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from optuna_study.config.catalogue import ACTIVATIONS, is_reference, resolve
from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import ModelSettings

MOST_GROUPS = 32


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
    layer: nn.Module = resolve(entry.reference)(**entry.fixed, **values)
    return layer


def _own_activation(reference: str) -> nn.Module:
    found = resolve(reference)
    if not callable(found):
        raise UsageError(f"activation '{reference}': not a function or a layer class")
    if not inspect.isclass(found) and _needs_an_argument(found):
        return Elementwise(found)
    layer = found()
    if not isinstance(layer, nn.Module):
        raise UsageError(
            f"activation '{reference}': gave {type(layer).__name__}; "
            "a function without arguments must give a torch.nn.Module"
        )
    return layer


def _needs_an_argument(function: Any) -> bool:
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
    name: str, channels: int, *, dense: bool = False, response: bool = False
) -> nn.Module | None:
    """A new normalisation layer with scale and shift per channel; None for `none`.

    None for `lrn`, too, which has neither scale nor shift, unless `response` asks for it and the
    layer is a convolution.
    """
    if name == "batch":
        return nn.BatchNorm1d(channels) if dense else nn.BatchNorm2d(channels)
    if name == "layer":
        return nn.LayerNorm(channels) if dense else nn.GroupNorm(1, channels)
    if name == "group":
        return nn.GroupNorm(math.gcd(MOST_GROUPS, channels), channels)
    if name == "lrn" and response and not dense:
        return LocalResponseNorm()
    return None


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
