from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.config.reasons import DivergenceKind, EarlierDivergence, NonFinite, Reason
from optuna_study.config.settings import TrainConfig, config_to_dict
from optuna_study.report.comparison.compare import (
    Claim,
    Comparison,
    Group,
    Known,
    Verdict,
    compare,
)
from optuna_study.report.comparison.page import (
    claim_columns,
    claim_rows,
    claim_verdict,
    columns,
    comparison_blocks,
    load_comparison,
    verdict_sentence,
)
from optuna_study.report.comparison.welch import contrast
from optuna_study.report.tables import plain
from optuna_study.store.records import ComparedRun, EndKind

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
CHANCE = 0.25
KNOWN = Known(CHANCE, {"test": 500, "validation": 500, "train": 2000})
DEAD = EarlierDivergence(DivergenceKind.DEAD, "At chance level.")
NON_FINITE = NonFinite("loss", math.nan, epoch=2, step=3, rate=0.8, before=1.5)


def baseline(name: str, group: str = "activation", **more: Any) -> dict[str, Any]:
    """A baseline of a configuration of its own."""
    settings = {"lr": len(name) + sum(map(ord, name))}
    return {"name": name, "group": group, "settings": settings, "reported": f"{name}."} | more


def claim(**more: Any) -> dict[str, Any]:
    said = {"text": "a is better", "better": "a", "worse": "b", "measure": "test_accuracy"}
    return said | {"within": None} | more


def run(
    name: str, test: float | None, end: EndKind | None, reason: Reason | None = None
) -> ComparedRun:
    """A run whose other sides were 0.7, numbered by `runs`."""
    return ComparedRun(0, name, end, reason, 0.7, 0.7, test)


def runs(**accuracies: list[float | None]) -> list[ComparedRun]:
    """Runs by baseline: test accuracies, and None for those whose loss became nan."""
    return [
        run(name, value, EndKind.COMPLETED)
        if value is not None
        else run(name, None, EndKind.DIVERGED, NON_FINITE)
        for name, values in accuracies.items()
        for value in values
    ]


def compared(
    baselines: list[dict[str, Any]],
    found: list[ComparedRun],
    claims: list[dict[str, Any]] | None = None,
    known: Known = KNOWN,
) -> Comparison:
    definition = {
        "config": config_to_dict(TrainConfig()),
        "baselines": baselines,
        "claims": claims or [],
    }
    numbered = [replace(each, number=number) for number, each in enumerate(found)]
    return compare(definition, numbered, known)


def only_group(baselines: list[dict[str, Any]], found: list[ComparedRun]) -> Group:
    (group,) = compared(baselines, found).groups
    return group


def only_claim(found: list[ComparedRun], **more: Any) -> Claim:
    (judged,) = compared([baseline("a"), baseline("b")], found, [claim(**more)]).claims
    return judged


def cells(group: Group, name: str) -> dict[str, Any]:
    """The cells of one baseline's row by their headers."""
    headers, rows = columns(group)
    (row,) = (row for row in rows if row[0] == name)
    return dict(zip(headers, row, strict=True))


def test_groups_stand_in_the_order_of_the_file() -> None:
    baselines = [baseline("a", "lr"), baseline("b", "batch"), baseline("c", "lr")]
    groups = compared(baselines, []).groups
    assert [(group.name, [row.baseline for row in group.rows]) for group in groups] == [
        ("lr", ["a", "c"]),
        ("batch", ["b"]),
    ]
    assert all(group.verdict is Verdict.NONE for group in groups)


def test_a_run_whose_net_was_lost_counts_as_chance_in_every_measure_and_is_marked() -> None:
    group = only_group([baseline("a")], runs(a=[0.9, None, 0.8]))
    (row,) = group.rows
    assert (row.runs, row.given_up) == (3, {"non_finite": 1})
    assert row.spreads["test_accuracy"].values == (0.9, CHANCE, 0.8)
    assert row.spreads["train_accuracy"].values == (0.7, CHANCE, 0.7)
    shown = cells(group, "a")
    assert (shown["test"], shown["given up"]) == ("65.0 ± 35.0 %*", "1 non finite")


def test_a_run_that_is_merely_dead_keeps_what_was_measured_of_it() -> None:
    shown = cells(only_group([baseline("a")], [run("a", None, EndKind.DIVERGED, DEAD)] * 2), "a")
    assert (shown["test"], shown["training"], shown["given up"]) == (
        "25.0 %*",
        "70.0 ± 0.0 %",
        "2 dead",
    )


def test_without_chance_known_runs_given_up_are_left_out() -> None:
    found = compared([baseline("a")], runs(a=[0.9, None]), known=Known(None))
    assert found.rows[0].spreads["test_accuracy"].values == (0.9,)


def test_runs_that_failed_or_were_cut_off_give_no_figures() -> None:
    ends = (EndKind.FAILED, EndKind.OUT_OF_MEMORY, EndKind.PRUNED)
    found = [*runs(a=[0.9]), *(run("a", None, end) for end in ends)]
    group = only_group([baseline("a")], found)
    assert {len(spread.values) for spread in group.rows[0].spreads.values()} == {1}
    shown = cells(group, "a")
    assert shown["runs"] == "1 of 4"
    assert shown["without figures"] == "1 failed, 1 out of memory, 1 out of time"


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


@pytest.mark.parametrize("a", [[0.9], [0.9, 0.91, 0.92]])
def test_one_run_of_either_tells_nothing(a: list[float | None]) -> None:
    group = only_group([baseline("a", rank=1), baseline("b", rank=2)], runs(a=a, b=[0.1]))
    assert (group.verdict, group.pairs[0].p) == (Verdict.OPEN, None)
    assert verdict_sentence(group) == (
        "The source's order is left open: the means stand in it, yet single or equal runs tell "
        "nothing."
    )
    without_order = only_group([baseline("a"), baseline("b")], runs(a=a, b=[0.1]))
    assert verdict_sentence(without_order).endswith(
        "no two, since single or equal runs tell nothing."
    )
    judged = compared([baseline("a"), baseline("b")], runs(a=a, b=[0.1]), [claim()])
    assert claim_columns(judged)[1][0][-1] == "left open: single or equal runs tell nothing"
    (row,) = json.loads(json.dumps(claim_rows(judged)))
    assert (row["verdict"], row["p"]) == ("open", None)


def test_a_pair_that_cannot_be_tested_is_named_so_beside_those_that_can() -> None:
    baselines = [baseline(name, rank=rank) for rank, name in enumerate("abc")]
    group = only_group(baselines, runs(a=[0.7, 0.8], b=[0.7, 0.81], c=[0.5]))
    said = verdict_sentence(group)
    assert "a and b (-0.5 points, p = 0.95)" in said
    assert "b and c (+25.5 points, untested)" in said


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ([], "left open, runs are missing: c has 0 of 0."),
        ([run("c", None, None)] * 3, "left open, not finished: c has 0 of 3."),
        (
            [*runs(c=[0.1, 0.11]), run("c", None, None)],
            "left open, not finished: c has 2 of 3.",
        ),
        (
            [*runs(c=[0.1, 0.11]), run("c", None, EndKind.FAILED)],
            "left open, runs are missing: c has 2 of 3.",
        ),
    ],
)
def test_an_order_is_open_while_one_that_is_ranked_lacks_runs(
    missing: list[ComparedRun], said: str
) -> None:
    baselines = [baseline("a", rank=2), baseline("b", rank=1), baseline("c", rank=3)]
    there = runs(a=[0.7, 0.71, 0.72], b=[0.9, 0.91, 0.92])
    group = only_group(baselines, [*there, *missing])
    assert group.verdict is Verdict.OPEN
    assert verdict_sentence(group).endswith(said)
    reverse = only_group([baseline("a", rank=1), baseline("b", rank=2), baselines[2]], there)
    assert reverse.verdict is Verdict.OPEN, "nor is it broken yet"


def test_figures_rank_where_there_are_no_ranks_and_equal_ones_are_not_compared() -> None:
    baselines = [
        baseline(name, figure={"measure": "test_accuracy", "value": value})
        for name, value in {"a": 0.87, "b": 0.97, "c": 0.97}.items()
    ]
    group = only_group(baselines, runs(a=[0.8] * 3, b=[0.9] * 3, c=[0.95] * 3))
    assert {(pair.better, pair.worse) for pair in group.pairs} == {("b", "a"), ("c", "a")}
    assert group.verdict is Verdict.HOLDS


def test_figures_are_compared_in_their_own_measure() -> None:
    figure = {"measure": "train_accuracy", "value": 0.87}
    group = only_group([baseline("a", figure=figure), baseline("b")], runs(a=[0.8], b=[0.9]))
    assert group.measure == "train_accuracy"
    assert cells(group, "a")["points off"] == "-17.0"


def test_baselines_of_one_configuration_share_their_runs() -> None:
    baselines = [
        baseline("a", rank=1, settings={"optimizer": "sgd"}),
        baseline("b", "other", settings={}),
        baseline("c", rank=2),
    ]
    found = [*runs(a=[0.8, 0.84], b=[0.81], c=[0.5, 0.51])]
    group, other = compared(baselines, found).groups
    a, c = group.rows
    assert (a.same, a.runs, a.spreads["test_accuracy"].values) == (("b",), 3, (0.8, 0.84, 0.81))
    assert other.rows[0].spreads == a.spreads
    assert (c.same, c.runs) == ((), 2)


def test_a_definition_of_another_version_is_read_for_what_it_has() -> None:
    sections = config_to_dict(TrainConfig())
    del sections["train"]["shuffle"]
    sections["train"]["new_one"] = 3
    baselines = [baseline("a", settings={}), baseline("b", settings={"shuffle": "every_epoch"})]
    found = compare({"config": sections, "baselines": baselines}, runs(a=[0.8], b=[0.9]), KNOWN)
    assert [row.same for row in found.rows] == [("b",), ("a",)]


def test_without_an_order_every_two_are_looked_at_and_p_is_taken_as_often() -> None:
    settings = {"optimizer": "adam"}
    baselines = [*map(baseline, "abc"), baseline("d", "other"), baseline("e", settings=settings)]
    baselines.append(baseline("same", settings=settings))
    found = runs(
        a=[0.7, 0.71, 0.72], b=[0.9, 0.91, 0.92], c=[0.9, 0.92, 0.94], e=[0.6], same=[0.95]
    )
    group, _ = compared(baselines, found).groups
    assert verdict_sentence(group) == (
        "The source gives no order. Told apart here: c is ahead of a (+21.0 points, p = 0.002); "
        "b is ahead of a (+20.0 points, p = 0.0033)."
    )
    alone = contrast(
        [(sign, group.rows[row].spreads["test_accuracy"]) for sign, row in ((1, 2), (-1, 0))]
    )
    pairs = {(pair.better, pair.worse): pair for pair in group.pairs}
    p = alone.p()
    assert p is not None
    assert pairs["c", "a"].p == pytest.approx(9 * p)
    assert len(pairs) == 9, "the two of one configuration are not told apart"
    one_less = compared(baselines, [*found[:-1], run("same", None, None)]).groups[0]
    assert verdict_sentence(one_less) == "The source gives no order."
    level = only_group([baseline("a"), baseline("b")], runs(a=[0.7, 0.8], b=[0.7, 0.81]))
    assert verdict_sentence(level) == "The source gives no order. Told apart here: no two."


def test_curves_are_counted_by_what_they_say() -> None:
    known = Known(CHANCE, {}, {0: "healthy", 1: "lr_too_large", 2: "healthy"})
    found = compared([baseline("a")], runs(a=[0.9, 0.8, 0.7]), known=known)
    assert cells(found.groups[0], "a")["curves"] == "2 healthy, 1 lr too large"


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([0.9, 0.91, 0.9], [0.8, 0.81, 0.8], Verdict.HOLDS),
        ([0.8, 0.81, 0.8], [0.9, 0.91, 0.9], Verdict.BROKEN),
        ([0.8, 0.9, 0.85], [0.8, 0.85, 0.8], Verdict.OPEN),
    ],
)
def test_a_claim_holds_when_the_two_are_told_apart(
    a: list[float | None], b: list[float | None], verdict: Verdict
) -> None:
    judged = only_claim(runs(a=a, b=b))
    assert judged.verdict is verdict
    assert judged.p is not None
    assert (judged.p < 0.05) == (verdict is not Verdict.OPEN)


@pytest.mark.parametrize(
    ("b", "verdict"),
    [
        ([0.89, 0.9, 0.91], Verdict.HOLDS),
        ([0.91, 0.92, 0.93], Verdict.HOLDS),
        ([0.83, 0.85, 0.84], Verdict.OPEN),
        ([0.6, 0.61, 0.6], Verdict.BROKEN),
    ],
)
def test_two_that_hardly_differ_have_to_be_shown_to_lie_within_the_bound(
    b: list[float | None], verdict: Verdict
) -> None:
    assert only_claim(runs(a=[0.9, 0.9, 0.9], b=b), within=0.06).verdict is verdict


def test_a_claim_is_open_until_all_of_its_runs_are_there() -> None:
    found = [*runs(a=[0.9, 0.91, 0.9], b=[0.8, 0.81]), run("b", None, None)]
    comparison = compared([baseline("a"), baseline("b", "other")], found, [claim()])
    assert claim_columns(comparison) == (
        ["the source says", "of this", "against", "here"],
        [
            [
                "a is better",
                "a: 90.3 ± 0.6 %",
                "b: 80.5 ± 0.7 %",
                "left open, not finished: b has 2 of 3",
            ]
        ],
    )
    assert only_claim(runs(a=[0.9])).gain is None


def test_a_table_has_the_sources_figure_beside_mean_and_spread() -> None:
    baselines = [
        baseline("a", figure={"measure": "test_accuracy", "value": 0.87}),
        baseline("b"),
    ]
    headers, rows = columns(only_group(baselines, runs(a=[0.9, 0.92], b=[None])))
    assert headers == [
        *("baseline", "source", "points off", "test", "validation", "training"),
        *("runs", "given up", "source reported"),
    ]
    assert rows[0] == [
        *("a", "87 %", "+4.0", "91.0 ± 1.4 %", "70.0 ± 0.0 %", "70.0 ± 0.0 %", 2, "-", "a."),
    ]
    assert rows[1][:6] == ["b", "-", "-", "25.0 %*", "25.0 %*", "25.0 %*"]


def test_what_no_row_has_has_no_column() -> None:
    headers, rows = columns(only_group([baseline("a", reported="")], runs(a=[0.9])))
    assert headers == ["baseline", "test", "validation", "training", "runs"]
    assert rows[0][:2] == ["a", "90.0 %"]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("amount", [1, 3])
def test_the_page_is_no_wider_than_the_terminal(
    store_file: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, width: int, amount: int
) -> None:
    """Of three runs each all are there, of one it is the first of three."""
    text = (ROOT / "studies/alexnet_flower.toml").read_text(encoding="utf-8")
    study = store_file(text, only="baselines", runs=3).study
    names = [each["name"] for each in study.definition["baselines"]]
    found = [
        run(name, 0.6 + 0.1 * number + 0.01 * len(name), EndKind.COMPLETED)
        if number < amount
        else run(name, None, None)
        for name in names
        for number in range(3)
    ]
    found.append(run(names[0], None, EndKind.DIVERGED, NON_FINITE))
    comparison = compare(study.definition, found, KNOWN)
    monkeypatch.setenv("COLUMNS", str(width))
    lines = plain("\n".join(comparison_blocks(study, comparison))).splitlines()
    assert max(map(len, lines)) <= width
    page = " ".join(" ".join(lines).split())
    told = [row.reported for row in comparison.rows]
    told += map(claim_verdict, comparison.claims)
    assert set(" ".join(told).split()) <= set(page.split())
    if (width, amount) == (80, 3):
        assert all(f"source reported: {row.reported}" in page for row in comparison.rows)


def test_runs_that_a_store_has_not_ended_are_known_to_be_missing(
    store_file: Callable[..., Any], study_file: str
) -> None:
    ranked = study_file.replace('group = "lr"', 'group = "activation"\nrank = 2')
    ranked = ranked.replace('reported = "Works."', "rank = 1")
    stored = store_file(ranked, only="baselines", runs=2)
    stored.run([0.6], attributes={"test_accuracy": 0.9})
    stored.run([0.5], EndKind.FAILED, reason="ValueError: no")
    stored.run([0.6], attributes={"test_accuracy": 0.8})
    (group,) = load_comparison(stored.store, stored.study, ()).groups
    said = "The source's order is left open, not finished: wild has 0 of 2."
    assert verdict_sentence(group) == said
    assert group.rows[1].without == {EndKind.FAILED: 1}
    assert group.rows[1].spreads == {}
