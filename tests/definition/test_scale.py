from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from optuna_study.definition.scale import (
    scale_breakpoints,
    scale_dimension,
    scale_epochs,
    scale_settings,
)
from optuna_study.space.dimensions import Breakpoints, FloatRange

if TYPE_CHECKING:
    from optuna_study.config.settings import Setting


@given(
    epochs=st.lists(st.integers(1, 299), min_size=1, max_size=6, unique=True).map(sorted),
    after=st.integers(1, 400),
)
def test_breakpoints_stay_distinct_ordered_and_within_the_run(
    epochs: list[int], after: int
) -> None:
    pairs = tuple((epoch, 0.1 / epoch) for epoch in epochs)
    scaled = scale_breakpoints(pairs, 300, after)
    found = [epoch for epoch, _ in scaled]
    assert found == sorted(set(found))
    assert found[0] >= 1
    assert [lr for _, lr in scaled] == [lr for _, lr in pairs]
    if len(pairs) < after:
        assert found[-1] < after


def test_breakpoints_are_rounded_to_the_nearest_epoch() -> None:
    assert scale_breakpoints(((18, 0.003), (74, 0.001)), 150, 15) == ((2, 0.003), (7, 0.001))
    assert scale_breakpoints(((18, 0.003), (20, 0.001)), 150, 15) == ((2, 0.003), (3, 0.001))
    assert scale_breakpoints(((140, 0.003), (149, 0.001)), 150, 4) == ((2, 0.003), (3, 0.001))


def test_the_same_length_changes_nothing() -> None:
    pairs = ((18, 0.003),)
    assert scale_breakpoints(pairs, 150, 150) is pairs


def test_a_baselines_own_length_scales_with_its_breakpoints() -> None:
    settings: dict[str, Setting] = {
        "epochs": 200,
        "breakpoints": ((100, 0.003),),
        "warmup_epochs": 5.0,
        "lr": 0.01,
    }
    assert scale_settings(settings, 150, 15) == {
        "epochs": 20,
        "breakpoints": ((10, 0.003),),
        "warmup_epochs": 0.5,
        "lr": 0.01,
    }
    assert scale_epochs(1, 150, 15) == 1


def test_bounds_in_epochs_scale_and_others_do_not() -> None:
    breakpoints = Breakpoints("breakpoints", 1, 0.1, 1.0, after_low=10, after_high=100)
    assert scale_dimension(breakpoints, 150, 15) == Breakpoints(
        "breakpoints", 1, 0.1, 1.0, after_low=1, after_high=10
    )
    warmup = FloatRange("warmup_epochs", 0.0, 10.0, step=5.0)
    assert scale_dimension(warmup, 150, 15) == FloatRange("warmup_epochs", 0.0, 1.0, step=0.5)
    dropout = FloatRange("dropout", 0.0, 0.5)
    assert scale_dimension(dropout, 150, 15) is dropout
