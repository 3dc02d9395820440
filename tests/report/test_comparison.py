from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from optuna_study.report.comparison import Group, Spread, Verdict, compare, told_apart
from optuna_study.report.comparison_page import columns, verdict_sentence
from optuna_study.store.records import ComparedRun, EndKind

CHANCE = 0.25
FRACTIONS = st.lists(st.integers(0, 500).map(lambda right: right / 500), min_size=2, max_size=6)


def baseline(name: str, group: str = "activation", **more: Any) -> dict[str, Any]:
    return {"name": name, "group": group, "reported": f"what {name} gave", **more}


def runs(**accuracies: list[float | None]) -> list[ComparedRun]:
    """Runs by baseline, of which None diverged."""
    found: list[ComparedRun] = []
    for name, values in accuracies.items():
        for value in values:
            end = EndKind.DIVERGED if value is None else EndKind.COMPLETED
            known = 0.7 if value is None else value
            test = None if value is None else value
            found.append(ComparedRun(len(found), name, end, known, known, test))
    return found


def only_group(baselines: list[dict[str, Any]], found: list[ComparedRun]) -> Group:
    (group,) = compare(baselines, found, CHANCE)
    return group


@pytest.mark.filterwarnings("ignore:Precision loss occurred")  # scipy's, of one side all the same
@example([0.0, 0.002], [0.002, 0.002])
@given(FRACTIONS, FRACTIONS)
def test_welchs_test_is_scipys(first: list[float], second: list[float]) -> None:
    p = told_apart(Spread(tuple(first)), Spread(tuple(second)))
    spread = statistics.variance(first) + statistics.variance(second)
    if spread > 1e-12:
        assert p == pytest.approx(ttest_ind(first, second, equal_var=False).pvalue, abs=1e-9)


def test_runs_that_all_gave_the_same_are_told_apart_by_any_difference() -> None:
    assert told_apart(Spread((0.2,) * 3), Spread((0.2,) * 3)) == 1.0
    assert told_apart(Spread((0.2,) * 3), Spread((0.1 + 0.2,) * 3)) == 0.0


def test_groups_stand_in_the_order_of_the_file() -> None:
    baselines = [baseline("a", "lr"), baseline("b", "batch"), baseline("c", "lr")]
    groups = compare(baselines, [], CHANCE)
    assert [(group.name, [row.baseline for row in group.rows]) for group in groups] == [
        ("lr", ["a", "c"]),
        ("batch", ["b"]),
    ]
    assert all(group.verdict is Verdict.NONE for group in groups)


def test_a_run_that_diverged_counts_as_chance_in_every_measure() -> None:
    group = only_group([baseline("a")], runs(a=[0.9, None, 0.8]))
    (row,) = group.rows
    assert (row.runs, row.diverged) == (3, 1)
    for spread in row.spreads.values():
        assert spread.values == (0.9, CHANCE, 0.8)


def test_without_chance_known_diverged_runs_are_left_out() -> None:
    (group,) = compare([baseline("a")], runs(a=[0.9, None]), None)
    assert group.rows[0].spreads["test_accuracy"].values == (0.9,)


def test_an_order_by_rank_that_is_found_again_holds() -> None:
    baselines = [baseline("a", rank=2), baseline("b", rank=1), baseline("c")]
    group = only_group(baselines, runs(a=[0.7, 0.71, 0.72], b=[0.9, 0.91, 0.92], c=[0.1] * 3))
    assert group.verdict is Verdict.HOLDS
    assert [(pair.better, pair.worse) for pair in group.pairs] == [("b", "a")]
    assert verdict_sentence(group) == "The source's order holds."


def test_an_order_that_stands_the_other_way_round_is_broken() -> None:
    baselines = [baseline("a", rank=1), baseline("b", rank=2)]
    group = only_group(baselines, runs(a=[0.7, 0.71, 0.72], b=[0.9, 0.91, 0.92]))
    assert group.verdict is Verdict.BROKEN
    assert "a is behind b (-20.0 points" in verdict_sentence(group)


@pytest.mark.parametrize(
    ("worse", "said"),
    [([0.5, 0.9, 0.8], "the means stand in it"), ([0.6, 0.99, 0.9], "do not all stand in it")],
)
def test_what_few_seeds_cannot_tell_is_left_open(worse: list[float | None], said: str) -> None:
    baselines = [baseline("a", rank=1), baseline("b", rank=2)]
    group = only_group(baselines, runs(a=[0.75, 0.8, 0.85], b=worse))
    assert group.verdict is Verdict.OPEN
    assert said in verdict_sentence(group)


def test_one_run_each_tells_nothing() -> None:
    baselines = [baseline("a", rank=1), baseline("b", rank=2)]
    assert only_group(baselines, runs(a=[0.9], b=[0.1])).verdict is Verdict.OPEN


def test_figures_rank_where_there_are_no_ranks_and_equal_ones_are_not_compared() -> None:
    figures = {"a": 0.87, "b": 0.97, "c": 0.97}
    baselines = [
        baseline(name, figure={"measure": "train_accuracy", "value": value})
        for name, value in figures.items()
    ]
    group = only_group(baselines, runs(a=[0.8] * 3, b=[0.9] * 3, c=[0.95] * 3))
    assert group.measure == "train_accuracy"
    assert {(pair.better, pair.worse) for pair in group.pairs} == {("b", "a"), ("c", "a")}
    assert group.verdict is Verdict.HOLDS


def test_a_table_has_the_sources_figure_beside_mean_and_spread() -> None:
    baselines = [
        baseline("a", figure={"measure": "test_accuracy", "value": 0.87}),
        baseline("b"),
    ]
    headers, rows = columns(only_group(baselines, runs(a=[0.9, 0.92], b=[None])))
    assert headers[:5] == ["baseline", "source", "points off", "test", "validation"]
    assert rows[0] == ["a", "87 %", "+4.0", *["91.0 ± 1.4 %"] * 3, 2, 0, "what a gave"]
    assert rows[1][:6] == ["b", "-", "-", "25.0 %", "25.0 %", "25.0 %"]


def test_without_figures_there_is_no_column_for_them() -> None:
    headers, rows = columns(only_group([baseline("a")], runs(a=[0.9])))
    assert headers[:2] == ["baseline", "test"]
    assert rows[0][:2] == ["a", "90.0 %"]
