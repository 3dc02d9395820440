"""Random spaces, and random draws from them."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st

from optuna_study.config.settings import Scalar, TrainConfig, with_settings
from optuna_study.space.dimensions import Breakpoints, Choice, FloatRange, IntRange
from optuna_study.space.space import Space

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.space.dimensions import Dimension, Leaf

ACTIVATIONS = ("sigmoid", "tanh", "relu", "gelu")
OPTIMIZERS = ("sgd", "momentum", "adam")
RATES = st.floats(1e-6, 1.0)


@st.composite
def _ranges(draw: st.DrawFn, name: str, low: float, high: float) -> FloatRange:
    bounds = draw(st.lists(st.floats(low, high), min_size=2, max_size=2, unique=True).map(sorted))
    return FloatRange(name, bounds[0], bounds[1], log=bounds[0] > 0 and draw(st.booleans()))


@st.composite
def _conditional(draw: st.DrawFn) -> list[Dimension]:
    chosen = draw(st.lists(st.sampled_from(OPTIMIZERS), min_size=1, unique=True).map(tuple))
    momentum = draw(_ranges("momentum", 0.0, 0.99))
    when = {"optimizer": draw(st.lists(st.sampled_from(chosen), min_size=1).map(tuple))}
    schedule = Choice("schedule", ("breakpoints", "cosine"), {"activation": ("relu",)})
    return [
        FloatRange("momentum", momentum.low, momentum.high, momentum.log, None, when),
        Choice("optimizer", chosen),
        schedule,
    ]


@st.composite
def _breakpoints(draw: st.DrawFn) -> Breakpoints:
    factor = draw(_ranges("factor", 1e-3, 10.0))
    when = draw(st.sampled_from([{}, {"schedule": ("breakpoints",)}]))
    most = draw(st.integers(1, 4))
    return Breakpoints("breakpoints", most, factor.low, factor.high, factor.log, when=when)


@st.composite
def _spaces(draw: st.DrawFn) -> tuple[Space, TrainConfig]:
    base = with_settings(
        TrainConfig(),
        {
            "lr": draw(RATES),
            "epochs": draw(st.integers(2, 200)),
            "activation": draw(st.sampled_from(ACTIVATIONS)),
        },
    )
    dimensions: list[Dimension] = [
        Choice("activation", draw(st.permutations(ACTIVATIONS).map(tuple))),
        IntRange("batch_size", 8, 8 + 8 * draw(st.integers(1, 9)), step=8),
        FloatRange("dropout", 0.0, draw(st.integers(1, 9)) * 0.1, step=0.1),
        *draw(_conditional()),
        draw(_breakpoints()),
    ]
    if draw(st.booleans()):
        dimensions.append(draw(_ranges("lr", 1e-6, 1.0)))
    return Space.of(draw(st.permutations(dimensions)), base), base


@pytest.fixture(scope="session")
def spaces() -> st.SearchStrategy[tuple[Space, TrainConfig]]:
    """Spaces of every kind of dimension in any order, each with its base configuration."""
    return _spaces()


def _drawn(leaf: Leaf, source: random.Random) -> Scalar:
    if leaf.kind == "categorical":
        return source.choice(leaf.choices)
    if leaf.kind == "int":
        return source.randrange(int(leaf.low), int(leaf.high) + 1, int(leaf.step or 1))
    if leaf.step is not None:
        steps = round((leaf.high - leaf.low) / leaf.step)
        return min(leaf.low + source.randint(0, steps) * leaf.step, leaf.high)
    # The bounds themselves come up too: rounding goes wrong there first.
    position = source.choice([0.0, 1.0, source.random()])
    if leaf.log:
        low, high = math.log(leaf.low), math.log(leaf.high)
        return min(max(math.exp(low + position * (high - low)), leaf.low), leaf.high)
    return min(leaf.low + position * (leaf.high - leaf.low), leaf.high)


@pytest.fixture(scope="session")
def drawing() -> Callable[[int], Callable[[Leaf], Scalar]]:
    """A draw from a seed."""

    def seeded(seed: int) -> Callable[[Leaf], Scalar]:
        source = random.Random(seed)
        return lambda leaf: _drawn(leaf, source)

    return seeded
