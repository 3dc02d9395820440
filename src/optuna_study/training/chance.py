"""What a model reaches that answers the same for every picture; plain floats, free of torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def chance_loss(name: str, counts: Sequence[int]) -> float:
    """The least loss of a model that answers the same for every picture, from counts per class."""
    shares = _shares(counts)
    if name == "mse":
        return sum(share * (1 - share) for share in shares) / len(counts)
    if name == "bce":
        return sum(map(_binary_entropy, shares)) / len(counts)
    return -sum(share * math.log(share) for share in shares)


def chance_gradient(name: str, counts: Sequence[int], batch_size: int) -> float:
    """The L2 norm of the gradient of such a model's output biases, on average over batches.

    It is the noise of the class frequencies from batch to batch: nothing smaller is to be expected
    of a model at chance level, and more means that the weights have a gradient, too.

    >>> round(chance_gradient("cross_entropy", [9] * 5, 8), 3)
    0.316
    """
    variances = [share * (1 - share) for share in _shares(counts)]
    if name == "mse":  # through the sigmoid, whose slope at its answer is that variance
        variances = [4 * variance**3 for variance in variances]
    scale = 1.0 if name == "cross_entropy" else 1.0 / len(counts)
    return scale * math.sqrt(sum(variances) / batch_size)


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts if count]


def _binary_entropy(share: float) -> float:
    return -sum(part * math.log(part) for part in (share, 1 - share) if part > 0)
