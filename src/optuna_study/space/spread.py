"""Points spread evenly over a space: what a trial gets of which no history says anything."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from optuna_study.seeds import lattice_shift

if TYPE_CHECKING:
    from optuna_study.config.settings import Scalar
    from optuna_study.space.dimensions import Leaf


def lattice(seed: int, index: int, dimensions: int) -> tuple[float, ...]:
    """Point `index` of an additive recurrence in [0, 1)^dimensions, shifted by the seed.

    The steps are the powers of 1/g, where g solves g^(dimensions + 1) = g + 1 (the golden ratio
    in one dimension): of a handful of points no two lie close in any coordinate, which
    independent draws do not give.
    """
    root = 2.0
    for _ in range(40):  # converges to the last bit well before
        root = (1 + root) ** (1 / (dimensions + 1))
    return tuple(
        math.modf(lattice_shift(seed, axis) + (index + 1) * root ** -(axis + 1))[0]
        for axis in range(dimensions)
    )


def value_at(leaf: Leaf, coordinate: float) -> Scalar:
    """The value of a parameter at a coordinate in [0, 1), its quantile.

    >>> from optuna_study.space.dimensions import Leaf
    >>> value_at(Leaf("lr", "float", 0.001, 10.0, log=True), 0.5)
    0.1
    >>> value_at(Leaf("activation", "categorical", choices=("relu", "tanh")), 0.5)
    'tanh'
    """
    low, high = leaf.low, leaf.high
    if leaf.kind == "categorical":
        return leaf.choices[int(coordinate * len(leaf.choices))]
    if leaf.kind == "int":
        return _whole(leaf, coordinate)
    if leaf.step is not None:
        steps = round((high - low) / leaf.step)
        return on_step(low, high, leaf.step, low + int(coordinate * (steps + 1)) * leaf.step)
    if leaf.log:
        value = math.exp(math.log(low) + coordinate * (math.log(high) - math.log(low)))
        return min(max(float(f"{value:.12g}"), low), high)
    return low + coordinate * (high - low)


def on_step(low: float, high: float, step: float, value: float) -> float:
    """The decimal number that a value of a stepped range of fractions stands for.

    >>> on_step(0.0, 0.7, 0.1, 0.30000000000000004)
    0.3
    """
    first, each = Decimal(repr(low)), Decimal(repr(step))
    exact = float(first + round((Decimal(value) - first) / each) * each)
    return min(max(exact, low), high)


def _whole(leaf: Leaf, coordinate: float) -> int:
    low, high = int(leaf.low), int(leaf.high)
    if leaf.log:
        edges = math.log(low - 0.5), math.log(high + 0.5)
        value = round(math.exp(edges[0] + coordinate * (edges[1] - edges[0])))
        return min(max(value, low), high)
    step = int(leaf.step or 1)
    return low + int(coordinate * ((high - low) // step + 1)) * step
