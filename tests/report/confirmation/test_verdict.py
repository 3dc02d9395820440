"""Whether a winner is better: known cases, and how often it is said wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.report.confirmation.page import floors
from optuna_study.report.confirmation.verdict import (
    Known,
    Outcome,
    holm,
    judge,
    residual_variance,
)
from optuna_study.store.records import ConfirmationRun, EndKind

if TYPE_CHECKING:
    from collections.abc import Callable

KNOWN = Known("maximize", shares=True, validation=186, test=234, guessing=0.3)


def runs_of(tests: dict[int, list[float]], values: dict[int, float]) -> list[ConfirmationRun]:
    return [
        ConfirmationRun(10 * number + seed, number, seed, EndKind.COMPLETED, values[number], test)
        for number, found in tests.items()
        for seed, test in enumerate(found)
    ]


def test_a_clear_winner_is_better_than_the_baseline() -> None:
    tests = {4: [0.95, 0.94, 0.95], 7: [0.9, 0.9, 0.9], 0: [0.8, 0.79, 0.81]}
    found = judge(runs_of(tests, {4: 0.94, 7: 0.9, 0: 0.8}), frozenset({0}), KNOWN)
    assert found is not None
    assert found.outcome is Outcome.BETTER
    assert found.against is not None
    assert (found.winner.trial, found.against.trial) == (4, 0)
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(0.1467, abs=1e-4)
    assert 0 < (found.difference.low or 0) < 0.1467 < (found.difference.high or 0)
    assert found.p is not None
    assert found.p < 0.05
    assert found.pictures_needed is found.seeds_needed is None
    assert found.winner.mean is not None
    assert found.winner.mean.mean == pytest.approx(0.94)
    # The same the other way round: the best one that was confirmed is worse than the baseline.
    turned = {number: [1 - test for test in found] for number, found in tests.items()}
    worse = judge(runs_of(turned, {4: 0.94, 7: 0.9, 0: 0.8}), frozenset({0}), KNOWN)
    assert worse is not None
    assert worse.outcome is Outcome.WORSE


def test_a_small_difference_needs_so_many_pictures_or_seeds() -> None:
    steady = {4: [0.89, 0.89, 0.89], 0: [0.88, 0.88, 0.88]}
    found = judge(runs_of(steady, {4: 0.9, 0: 0.8}), frozenset({0}), KNOWN)
    assert found is not None
    assert found.outcome is Outcome.NOT_DISTINGUISHABLE
    # 1.96 standard errors of sqrt(2 p (1 - p) / 3 n) are a point at n of about 2,600.
    assert found.pictures_needed == pytest.approx(2600, rel=0.1)
    assert found.seeds_needed is None
    # Seeds that differ by more than pictures do: more seeds, then.
    unsteady = {4: [0.99, 0.6, 0.89], 0: [0.7, 0.93, 0.8]}
    found = judge(runs_of(unsteady, {4: 0.9, 0: 0.8}), frozenset({0}), KNOWN)
    assert found is not None
    assert found.outcome is Outcome.NOT_DISTINGUISHABLE
    assert found.pictures_needed is None
    assert found.seeds_needed is not None
    assert found.seeds_needed > 30


def test_runs_of_a_seed_are_pairs() -> None:
    """What a seed does to all, such as its split, is no error of their differences."""
    shift = (0.0, 0.1, -0.2)
    tests = {n: {s: base + by for s, by in enumerate(shift)} for n, base in ((1, 0.6), (2, 0.5))}
    assert residual_variance(tests)[0] == pytest.approx(0, abs=1e-12)
    assert residual_variance(tests)[1] == 2
    assert residual_variance({1: {0: 0.5}, 2: {0: 0.4}})[1] == 0


def test_who_diverges_on_a_seed_answers_as_guessing_does_and_does_not_win() -> None:
    tests = {4: [0.95, 0.94], 7: [0.9, 0.9], 0: [0.8, 0.79]}
    runs = runs_of(tests, {4: 0.94, 7: 0.9, 0: 0.8})
    runs[1] = replace(runs[1], end=EndKind.DIVERGED, value=None, test_accuracy=None)
    found = judge(runs, frozenset({0}), KNOWN)
    assert found is not None
    assert found.winner.trial == 7
    unlucky = next(each for each in found.confirmed if each.trial == 4)
    assert unlucky.diverged == 1
    assert unlucky.test is not None
    assert unlucky.test.mean == pytest.approx((0.95 + 0.3) / 2)


def test_without_a_baseline_the_next_finalist_is_what_to_beat() -> None:
    tests = {4: [0.9, 0.9], 7: [0.9, 0.9]}
    found = judge(runs_of(tests, {4: 0.8, 7: 0.9}), frozenset(), KNOWN)
    assert found is not None
    assert found.against is not None
    assert (found.winner.trial, found.against.trial) == (7, 4)
    assert found.outcome is Outcome.NOT_DISTINGUISHABLE
    alone = judge(runs_of({4: [0.9]}, {4: 0.9}), frozenset(), KNOWN)
    assert alone is not None
    assert alone.against is None


def test_nothing_is_judged_before_a_finalist_has_a_run() -> None:
    run = ConfirmationRun(9, 4, 1, EndKind.FAILED, None, None)
    assert judge([run], frozenset({0}), KNOWN) is None
    of_baseline = ConfirmationRun(9, 0, 1, EndKind.COMPLETED, 0.5, 0.5)
    assert judge([of_baseline], frozenset({0}), KNOWN) is None


def test_losses_are_ranked_the_other_way() -> None:
    known = Known("minimize", shares=False, validation=186, test=234, guessing=0.3)
    found = judge(runs_of({4: [0.9], 7: [0.9]}, {4: 0.4, 7: 0.3}), frozenset(), known)
    assert found is not None
    assert found.winner.trial == 7


def test_holm_corrects_each_by_what_is_left_and_keeps_the_order() -> None:
    values = {1: 0.01, 2: 0.02, 3: 0.04}
    assert [holm(values, number)[0] for number in values] == [0.03, 0.04, 0.04]


@pytest.mark.slow
def test_better_is_rarely_said_of_what_is_not(
    figures: Callable[..., list[dict[str, Any]]],
) -> None:
    rows = {
        row["case"]: row
        for row in figures("verdicts.py", "--simulations", "60", OPENBLAS_NUM_THREADS="1")
    }
    assert all(row["wrong"] <= 0.05 for row in rows.values())
    assert rows["winner by 8 points"]["better"] > 0.8
    assert rows["loser, by much"]["worse"] > 0.1


def test_what_needs_no_training_is_told_where_it_is_known(finished_study: Any) -> None:
    study = replace(finished_study.study, environment={"class_counts": [30, 10]})
    assert floors(study) == ["Guessing the largest class gives 75.0 %."]
    near = replace(study, environment={**study.environment, "nearest_neighbours": 0.875})
    assert floors(near)[1:] == ["The nearest neighbours by the network's features give 87.5 %."]
