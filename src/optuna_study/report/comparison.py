"""A study's baselines over several seeds, beside what their source saw; pure.

A run that diverged counts as chance level in every mean: the model it leaves knows nothing. Two
baselines are told apart where Welch's t-test of their runs gives p < 0.05 (B. L. Welch, 1947);
with three seeds that takes a difference of about two and a half standard deviations, so a source's
order is often left open. The spread is that of weights, order and dropout on one split of one data
set, not that of other pictures.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna_study.store.records import ComparedRun

TEST, TRAIN, VALIDATION = "test_accuracy", "train_accuracy", "validation_accuracy"
TOLD_APART = 0.05  # p below which two baselines differ
NO_SPREAD = 1e-15  # accuracies of n pictures are apart by 1/n, or by what a sum rounds off


@dataclass(frozen=True)
class Spread:
    """The values of several runs, each a fraction in [0, 1]; there is at least one."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their standard deviation (n - 1); None of a single run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Row:
    """One baseline: what its source says of it, and its runs here by measure."""

    baseline: str
    reported: str
    figure: tuple[str, float] | None  # the source's own: measure and value
    rank: int | None
    runs: int  # ended ones
    diverged: int
    spreads: Mapping[str, Spread]


class Verdict(StrEnum):
    """Whether a source's order of its baselines is found again."""

    HOLDS = "holds"
    OPEN = "open"  # these runs do not tell some of them apart
    BROKEN = "does not hold"
    NONE = "none"  # the source gives no order


@dataclass(frozen=True)
class Pair:
    """Two baselines of which the source has the first before the second."""

    better: str
    worse: str
    gain: float  # how far the first is ahead here, in the measure
    p: float


@dataclass(frozen=True)
class Group:
    """The baselines that belong together, and what became of their order; `measure` ranks them."""

    name: str
    measure: str
    rows: tuple[Row, ...]
    verdict: Verdict
    pairs: tuple[Pair, ...]

    @property
    def undecided(self) -> tuple[Pair, ...]:
        """Pairs that are not told apart."""
        return tuple(pair for pair in self.pairs if pair.p >= TOLD_APART)

    @property
    def reversed(self) -> tuple[Pair, ...]:
        """Pairs that stand the other way round here."""
        return tuple(pair for pair in self.pairs if pair.p < TOLD_APART and pair.gain < 0)


def compare(
    baselines: Sequence[Mapping[str, Any]], runs: Iterable[ComparedRun], chance: float | None
) -> tuple[Group, ...]:
    """The groups of a definition's baselines, in the order in which they first stand.

    `baselines` are as the store pins them, `chance` is the accuracy of guessing the largest class;
    without it, runs that diverged are left out of the means.
    """
    by_name: dict[str, list[ComparedRun]] = {each["name"]: [] for each in baselines}
    for run in runs:
        by_name[run.baseline].append(run)
    rows: dict[str, list[Row]] = {}
    for each in baselines:
        row = _row(each, by_name[each["name"]], chance)
        rows.setdefault(each["group"], []).append(row)
    return tuple(_group(name, members) for name, members in rows.items())


def told_apart(first: Spread, second: Spread) -> float:
    """The p of Welch's t-test that two spreads have one mean; 1 where a single run cannot tell.

    >>> told_apart(Spread((0.9,)), Spread((0.1,)))
    1.0
    """
    counts = len(first.values), len(second.values)
    if min(counts) < 2:
        return 1.0
    shares = [
        statistics.variance(spread.values) / len(spread.values) for spread in (first, second)
    ]
    difference = first.mean - second.mean
    if sum(shares) < NO_SPREAD:  # each run gave the same: nothing is left to chance
        return 1.0 if abs(difference) < NO_SPREAD else 0.0
    from scipy.special import stdtr

    freedom = sum(shares) ** 2 / sum(
        share**2 / (count - 1) for share, count in zip(shares, counts, strict=True)
    )
    return float(2 * stdtr(freedom, -abs(difference) / math.sqrt(sum(shares))))


def _row(baseline: Mapping[str, Any], runs: Sequence[ComparedRun], chance: float | None) -> Row:
    figure = baseline.get("figure")
    spreads = {}
    for measure in (TEST, VALIDATION, TRAIN):
        values = tuple(
            value for run in runs if (value := _value(run, measure, chance)) is not None
        )
        if values:
            spreads[measure] = Spread(values)
    return Row(
        baseline=baseline["name"],
        reported=baseline["reported"],
        figure=(figure["measure"], figure["value"]) if figure else None,
        rank=baseline.get("rank"),
        runs=len(runs),
        diverged=sum(run.end is EndKind.DIVERGED for run in runs),
        spreads=spreads,
    )


def _value(run: ComparedRun, measure: str, chance: float | None) -> float | None:
    if run.end is EndKind.DIVERGED:
        return chance
    value: float | None = getattr(run, measure)
    return value


def _group(name: str, rows: Sequence[Row]) -> Group:
    measures = {row.figure[0] for row in rows if row.figure is not None}
    measure = measures.pop() if len(measures) == 1 else TEST
    pairs = tuple(_pairs(rows, measure))
    verdict = Verdict.HOLDS if pairs else Verdict.NONE
    if any(pair.p >= TOLD_APART for pair in pairs):
        verdict = Verdict.OPEN
    if any(pair.p < TOLD_APART and pair.gain < 0 for pair in pairs):
        verdict = Verdict.BROKEN
    return Group(name, measure, tuple(rows), verdict, pairs)


def _pairs(rows: Sequence[Row], measure: str) -> Iterable[Pair]:
    """Every two that the source tells apart and that have ended runs here."""
    placed = [(place, row) for row in rows if (place := _place(row, rows, measure)) is not None]
    for first, second in itertools.combinations(placed, 2):
        (place, better), (other, worse) = sorted((first, second), key=lambda each: each[0])
        if place == other or measure not in better.spreads or measure not in worse.spreads:
            continue
        ours, theirs = better.spreads[measure], worse.spreads[measure]
        yield Pair(
            better.baseline,
            worse.baseline,
            ours.mean - theirs.mean,
            told_apart(ours, theirs),
        )


def _place(row: Row, rows: Sequence[Row], measure: str) -> float | None:
    """Where the source has a baseline in its group, by rank or else by figure; less is better."""
    if any(each.rank is not None for each in rows):
        return row.rank
    return -row.figure[1] if row.figure is not None and row.figure[0] == measure else None
