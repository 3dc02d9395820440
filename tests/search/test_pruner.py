from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from optuna_study.search.pruner import FEWEST_OTHERS, decide, never, rungs

if TYPE_CHECKING:
    from collections.abc import Sequence


def values(*others: float) -> Sequence[float]:
    return others


@given(st.integers(1, 2000))
def test_rungs_are_few_ordered_and_leave_the_last_two_thirds_alone(epochs: int) -> None:
    found = rungs(epochs)
    assert list(found) == sorted(set(found))
    assert len(found) <= 3
    assert all(2 <= epoch <= math.ceil(epochs / 3) for epoch in found)


def test_short_and_long_runs_are_first_judged_after_a_few_epochs() -> None:
    assert rungs(10) == (2, 4)
    assert rungs(15) == (2, 5)
    assert rungs(150) == (6, 17, 50)
    assert rungs(3) == ()


def test_the_better_half_goes_on() -> None:
    others = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]  # with this one nine: four go on
    assert decide(2, 0.55, lambda: others, "maximize", 12) is None
    pruned = decide(2, 0.45, lambda: others, "maximize", 12)
    assert pruned is not None
    assert (pruned.rule, pruned.against, pruned.compared) == ("rungs", 0.5, 9)


def test_a_loss_is_better_when_lower() -> None:
    others = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert decide(2, 0.25, lambda: others, "minimize", 12) is None
    pruned = decide(2, 0.35, lambda: others, "minimize", 12)
    assert pruned is not None
    assert (pruned.against, pruned.compared) == (0.3, 6)


def test_equal_values_go_on_together() -> None:
    assert decide(2, 0.2, lambda: [0.2] * 10, "maximize", 12) is None


def test_nothing_is_judged_by_a_handful() -> None:
    few = [0.9] * (FEWEST_OTHERS - 1)
    assert decide(2, 0.1, lambda: few, "maximize", 12) is None
    assert decide(2, 0.1, lambda: [*few, 0.9], "maximize", 12) is not None


def test_others_are_asked_for_at_rungs_only() -> None:
    def asked() -> Sequence[float]:
        raise AssertionError("epoch 3 of 12 is no rung")

    assert decide(3, 0.1, asked, "maximize", 12) is None
    assert never(2, 0.1, asked, "maximize", 12) is None


def test_what_is_not_finite_is_the_worst() -> None:
    others = [math.nan, math.inf, 0.5, 0.4, 0.3]
    assert decide(2, 0.45, lambda: others, "maximize", 12) is None
    assert decide(2, math.nan, lambda: others, "maximize", 12) is not None
    assert decide(2, math.inf, lambda: [0.1] * 5, "minimize", 12) is not None


@given(
    st.lists(st.floats(0, 1), min_size=FEWEST_OTHERS, max_size=40),
    st.floats(0, 1),
    st.sampled_from(["maximize", "minimize"]),
)
def test_the_best_of_all_always_goes_on(others: list[float], value: float, direction: str) -> None:
    best = max([*others, value]) if direction == "maximize" else min([*others, value])
    assert decide(2, best, lambda: others, direction, 12) is None
