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
    return -sum(share * math.log(share) for share in shares if share)


def bias_gradient(
    name: str, counts: Sequence[int], batch_size: int, loss: float, *, sigmoid: bool = True
) -> float:
    """The L2 norm of the gradient that such a model's output biases have at a loss, at the most.

    On average over batches. A loss above that of chance tells how far the answers are from the
    class frequencies, which draw the biases there; what is left at chance is the noise of the
    frequencies from batch to batch. More than both means that the weights have a gradient, too.
    Without `sigmoid`, mse is that of an activation, whose slope is taken as one.

    >>> round(bias_gradient("cross_entropy", [9] * 5, 8, loss=1.609), 3)
    0.316
    >>> round(bias_gradient("mse", [9] * 5, 8, loss=0.25), 3)
    0.074
    """
    shares = _shares(counts)
    distance = _distance(name, max(0.0, loss - chance_loss(name, counts)), len(counts))
    squares = [distance + share * (1 - share) / batch_size for share in shares]
    if name == "mse" and sigmoid:
        slopes = [_slope(share, math.sqrt(distance)) for share in shares]
        squares = [square * slope**2 for square, slope in zip(squares, slopes, strict=True)]
    scale = {"cross_entropy": 1.0, "mse": 2 / len(counts), "bce": 1 / len(counts)}[name]
    return scale * math.sqrt(sum(squares))


def _distance(name: str, excess: float, classes: int) -> float:
    """The mean squared distance of answers from class frequencies, from the loss above chance.

    Of mse it is that loss; of the others it is half of that divergence at most (Pinsker).
    """
    if name == "mse":
        return excess
    if name == "bce":
        return min(1.0, excess / 2)
    return min(2.0, 2 * excess) / classes  # the softmax's answers share one divergence


def _slope(share: float, distance: float) -> float:
    """The sigmoid's steepest slope among the answers up to a distance from a class's share."""
    steepest = share + max(-distance, min(distance, 0.5 - share))
    return steepest * (1 - steepest)


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts]


def _binary_entropy(share: float) -> float:
    return -sum(part * math.log(part) for part in (share, 1 - share) if part > 0)
