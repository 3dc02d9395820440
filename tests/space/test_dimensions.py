from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_study.config.settings import TrainConfig, with_settings
from optuna_study.space.dimensions import (
    Breakpoints,
    Choice,
    FloatRange,
    IntRange,
    Leaf,
    OutsideError,
    next_rate,
)

CONFIG = with_settings(TrainConfig(), {"lr": 0.01, "epochs": 150})
BREAKPOINTS = Breakpoints("breakpoints", 2, 0.01, 1.0, after_high=149)


def test_the_articles_schedule_is_said_exactly() -> None:
    parameters = BREAKPOINTS.parameters(((18, 0.003),), CONFIG)
    assert parameters == {
        "breakpoints": 1,
        "breakpoint_1_after": 18,
        "breakpoint_1_factor": 0.3,
    }
    assert BREAKPOINTS.value(parameters, CONFIG) == ((18, 0.003),)


def test_a_change_at_the_end_or_later_does_not_happen() -> None:
    parameters = {
        "breakpoints": 2,
        "breakpoint_1_after": 100,
        "breakpoint_1_factor": 0.5,
        "breakpoint_2_after": 50,
        "breakpoint_2_factor": 0.5,
    }
    assert BREAKPOINTS.value(parameters, CONFIG) == ((100, 0.005),)


@given(
    lr=st.floats(1e-8, 100.0),
    pairs=st.lists(st.tuples(st.integers(1, 40), st.decimals("0.01", "1", places=6)), max_size=3),
)
def test_any_rates_of_twelve_digits_are_reached_exactly(
    lr: float, pairs: list[tuple[int, object]]
) -> None:
    epoch, rate, value = 0, lr, []
    for after, factor in pairs:
        epoch += after
        rate = float(f"{rate * float(str(factor)):.12g}")
        value.append((epoch, rate))
    dimension = Breakpoints("breakpoints", 3, 0.01, 1.0, after_high=149)
    config = with_settings(CONFIG, {"lr": lr})
    parameters = dimension.parameters(tuple(value), config)
    assert dimension.value(parameters, config) == tuple(value)
    factors = [parameters[f"breakpoint_{index}_factor"] for index in range(1, len(value) + 1)]
    assert all(0.01 <= float(factor) <= 1.0 for factor in factors)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (((1, 0.01), (2, 0.01), (3, 0.01)), "has 3 breakpoints, at most 2 are searched"),
        (
            ((16, 0.8),),
            "breakpoint 1 changes the rate by a factor of 80, which is not between 0.01 and 1",
        ),
        (
            ((150, 0.003),),
            "breakpoint 1 comes 150 epochs after the rate before it began, not 1 to 149",
        ),
        (
            ((18, 0.00333333333333333),),
            "breakpoint 1 has rate 0.00333333333333333, which no factor reaches exactly; "
            "write rates with at most 12 significant digits",
        ),
    ],
)
def test_breakpoints_outside_say_why(value: tuple[tuple[int, float], ...], sentence: str) -> None:
    with pytest.raises(OutsideError) as caught:
        BREAKPOINTS.parameters(value, CONFIG)
    assert str(caught.value) == sentence


def test_leaves_of_breakpoints_without_a_run_length_are_a_bug() -> None:
    with pytest.raises(ValueError, match="no number of epochs yet"):
        Breakpoints("breakpoints", 1, 0.1, 1.0).leaves()


def test_leaves_carry_the_bounds() -> None:
    assert FloatRange("dropout", 0.0, 0.6, step=0.1).leaves() == (
        Leaf("dropout", "float", 0.0, 0.6, False, 0.1),
    )
    assert Choice("batch_size", (8, 16)).leaves() == (
        Leaf("batch_size", "categorical", choices=(8, 16)),
    )
    names = [leaf.name for leaf in BREAKPOINTS.leaves()]
    assert names == [
        "breakpoints",
        "breakpoint_1_after",
        "breakpoint_1_factor",
        "breakpoint_2_after",
        "breakpoint_2_factor",
    ]


@pytest.mark.parametrize(
    ("dimension", "value"),
    [
        (FloatRange("dropout", 0.1, 0.5), 0.6),
        (FloatRange("dropout", 0.1, 0.5), math.nan),
        (FloatRange("dropout", 0.1, 0.5, step=0.1), 0.25),
        (FloatRange("dropout", 0.1, 0.5), "0.3"),
        (IntRange("batch_size", 8, 64), 65),
        (IntRange("batch_size", 8, 64, step=8), 12),
        (IntRange("batch_size", 8, 64), 8.5),
        (Choice("activation", ("relu", "gelu")), "tanh"),
    ],
)
def test_values_outside_are_refused(
    dimension: FloatRange | IntRange | Choice, value: float | str
) -> None:
    with pytest.raises(OutsideError):
        dimension.parameters(value, CONFIG)


def test_a_step_missed_by_rounding_counts() -> None:
    assert FloatRange("dropout", 0.0, 0.6, step=0.1).parameters(0.3, CONFIG) == {"dropout": 0.3}
    drawn = 0.1 + 2 * 0.1
    assert FloatRange("dropout", 0.1, 0.5, step=0.1).parameters(drawn, CONFIG) == {
        "dropout": drawn
    }


def test_rates_have_twelve_digits() -> None:
    assert next_rate(0.07, 0.1) == 0.007
    assert 0.07 * 0.1 != 0.007
