"""A study's baselines over several seeds, beside what their source says; pure.

Only runs that ended as planned or were given up have figures: a run that failed, ran out of memory
or of time leaves those of a part of its epochs. Of a run that was given up, held-out pictures were
never looked at: it counts there as chance level, and where its net was lost (non_finite,
exploding) in every measure. Baselines that come to one configuration share their runs, whose
seeds differ.

Two baselines are told apart where Welch's t-test of their runs gives p < 0.05; with three seeds
that takes a difference of about two and a half standard deviations, so a source's order is often
left open. The spread is that of weights, order and dropout on one split of one data set, not that
of other pictures.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from optuna_study.config.reasons import LOST, Diverged
from optuna_study.config.settings import TrainConfig, config_to_dict
from optuna_study.report.comparison.welch import TOLD_APART, Contrast, Spread, contrast
from optuna_study.store.records import ComparedRun, EndKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


TEST, TRAIN, VALIDATION = "test_accuracy", "train_accuracy", "validation_accuracy"
SIDES = {TEST: "test", TRAIN: "train", VALIDATION: "validation"}
"""Measures, each with the side of the split whose pictures it is a fraction of."""


@dataclass(frozen=True)
class Known:
    """What a study knows besides its runs.

    `chance` is the accuracy of guessing the largest class; where it is None, runs without figures
    are left out of the means. `pictures` is how many each side has, `patterns` what the loss
    curves say by the runs' numbers; either may be empty.
    """

    chance: float | None
    pictures: Mapping[str, int] = field(default_factory=dict)
    patterns: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One baseline: what its source says of it, and its runs here by measure.

    `same` are the other baselines of this configuration; the runs of all of them count.
    """

    baseline: str
    reported: str
    figure: tuple[str, float] | None  # the source's own: measure and value
    rank: int | None
    same: tuple[str, ...]
    asked: int  # runs
    given_up: Mapping[str, int]  # by kind
    without: Mapping[EndKind, int]  # ended without figures, by how
    patterns: Mapping[str, int]  # what the curves of those with figures say
    spreads: Mapping[str, Spread]
    runs: int  # ended with figures, those that were given up among them

    def reached(self, measure: str) -> int:
        """How many runs have a figure of a measure."""
        return len(self.spreads[measure].values) if measure in self.spreads else 0

    @property
    def waiting(self) -> int:
        """How many runs have not ended."""
        return self.asked - self.runs - sum(self.without.values())


class Verdict(StrEnum):
    """Whether what a source says of its baselines is found again."""

    HOLDS = "holds"
    OPEN = "open"  # these runs do not tell some of them apart, or are not all there
    BROKEN = "does not hold"
    NONE = "none"  # the source says nothing


@dataclass(frozen=True)
class Pair:
    """Two baselines of which the source has the first before the second.

    Where the source gives no order, every two, the one that is ahead here first; any of them might
    stand out by chance, so p is then multiplied by their number (C. E. Bonferroni, 1936). It is
    None where nothing is known of the error, as of single runs.
    """

    better: str
    worse: str
    gain: float  # how far the first is ahead here, in the measure
    p: float | None

    @property
    def apart(self) -> bool:
        """Whether the two are told apart."""
        return is_told(self.p)


@dataclass(frozen=True)
class Group:
    """The baselines that belong together, and what became of their order; `measure` ranks them.

    Without an order there are pairs only when all runs are there.

    `missing` are those in the order that do not have a figure of every run yet.
    """

    name: str
    measure: str
    rows: tuple[Row, ...]
    verdict: Verdict
    pairs: tuple[Pair, ...]
    missing: tuple[Row, ...] = ()

    @property
    def told(self) -> tuple[Pair, ...]:
        """Pairs that are told apart, the most different ones first."""
        found = (pair for pair in self.pairs if pair.apart)
        return tuple(sorted(found, key=lambda pair: -abs(pair.gain)))

    @property
    def undecided(self) -> tuple[Pair, ...]:
        """Pairs that are not told apart."""
        return tuple(pair for pair in self.pairs if not pair.apart)

    @property
    def reversed(self) -> tuple[Pair, ...]:
        """Pairs that stand the other way round here."""
        return tuple(pair for pair in self.pairs if pair.apart and pair.gain < 0)


@dataclass(frozen=True)
class Claim:
    """What a source says of two baselines, and what became of it.

    `gain` is how far the better one is ahead here, None while one has no figure; `p` is that of
    its being 0, or of its being `within`, None while nothing is known of the error either.
    """

    text: str
    better: str
    worse: str
    measure: str
    within: float | None
    verdict: Verdict
    gain: float | None = None
    p: float | None = None
    missing: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The groups of a study's baselines, and its source's claims."""

    groups: tuple[Group, ...]
    claims: tuple[Claim, ...]

    @property
    def rows(self) -> list[Row]:
        """Every baseline."""
        return [row for group in self.groups for row in group.rows]


def compare(
    definition: Mapping[str, Any], runs: Iterable[ComparedRun], known: Known
) -> Comparison:
    """The baselines of a definition as the store pins it, in the order in which groups begin."""
    alike = configurations(definition)
    pooled: dict[str, list[ComparedRun]] = {each: [] for each in alike.values()}
    for run in runs:
        pooled[alike[run.baseline]].append(run)
    rows: dict[str, list[Row]] = {}
    for each in definition["baselines"]:
        name = each["name"]
        same = [other for other in alike if other != name and alike[other] == alike[name]]
        row = _row(each, same, pooled[alike[name]], known)
        rows.setdefault(each["group"], []).append(row)
    groups = tuple(_group(name, members) for name, members in rows.items())
    by_name = {row.baseline: row for members in rows.values() for row in members}
    claims = tuple(_claim(each, by_name) for each in definition.get("claims", ()))
    return Comparison(groups, claims)


def configurations(definition: Mapping[str, Any]) -> dict[str, str]:
    """What each baseline is trained with, by name, as text.

    Text and no configuration: what another version pinned may lack settings, which then have their
    defaults, or know some that are not known here.
    """
    sections = [*config_to_dict(TrainConfig()).values(), *definition["config"].values()]
    common = {name: value for section in sections for name, value in section.items()}
    return {
        each["name"]: json.dumps(common | each["settings"], sort_keys=True)
        for each in definition["baselines"]
    }


def kind_of(run: ComparedRun) -> str:
    """Why a run was given up."""
    return run.reason.kind if isinstance(run.reason, Diverged) else EndKind.DIVERGED


def _row(
    baseline: Mapping[str, Any], same: Sequence[str], runs: Sequence[ComparedRun], known: Known
) -> Row:
    figure = baseline.get("figure")
    given_up = [run for run in runs if run.end is EndKind.DIVERGED]
    figured = [run for run in runs if run.end in (EndKind.COMPLETED, EndKind.DIVERGED)]
    ends = (run.end for run in runs if run.end is not None and run not in figured)
    spreads = {measure: _spread(figured, measure, known) for measure in SIDES}
    return Row(
        baseline=baseline["name"],
        reported=baseline["reported"],
        figure=(figure["measure"], figure["value"]) if figure else None,
        rank=baseline.get("rank"),
        same=tuple(same),
        asked=len(runs),
        runs=len(figured),
        given_up=Counter(kind_of(run) for run in given_up),
        without=Counter(ends),
        patterns=Counter(
            known.patterns[run.number] for run in figured if run.number in known.patterns
        ),
        spreads={measure: spread for measure, spread in spreads.items() if spread is not None},
    )


def _spread(runs: Sequence[ComparedRun], measure: str, known: Known) -> Spread | None:
    values, assumed = [], 0
    for run in runs:
        value: float | None = getattr(run, measure)
        lost = run.end is EndKind.DIVERGED and kind_of(run) in LOST
        if lost or (value is None and run.end is EndKind.DIVERGED):
            value = known.chance
            assumed += value is not None
        if value is not None:
            values.append(value)
    return Spread(tuple(values), known.pictures.get(SIDES[measure]), assumed) if values else None


def _group(name: str, rows: Sequence[Row]) -> Group:
    measures = {row.figure[0] for row in rows if row.figure is not None}
    measure = measures.pop() if len(measures) == 1 else TEST
    ordered = list(_ordered(rows, measure))
    if not ordered:
        return Group(name, measure, tuple(rows), Verdict.NONE, tuple(_any_order(rows, measure)))
    missing = tuple(_missing(itertools.chain.from_iterable(ordered), measure))
    pairs = tuple(
        Pair(better.baseline, worse.baseline, found.gain, found.p())
        for better, worse in ordered
        if (found := _difference(better, worse, measure)) is not None
    )
    verdict = Verdict.HOLDS
    if missing or not all(pair.apart for pair in pairs):
        verdict = Verdict.OPEN
    if not missing and any(pair.apart and pair.gain < 0 for pair in pairs):
        verdict = Verdict.BROKEN
    return Group(name, measure, tuple(rows), verdict, pairs, missing)


def _ordered(rows: Sequence[Row], measure: str) -> Iterable[tuple[Row, Row]]:
    """Every two that the source tells apart, the better one first."""
    placed = [(place, row) for row in rows if (place := _place(row, rows, measure)) is not None]
    for first, second in itertools.combinations(placed, 2):
        (place, better), (other, worse) = sorted((first, second), key=lambda each: each[0])
        if place != other:
            yield better, worse


def _any_order(rows: Sequence[Row], measure: str) -> Iterable[Pair]:
    """Every two of different configurations, when no run is missing."""
    if any(_missing(rows, measure)):
        return
    pairs = [
        (first, second)
        for first, second in itertools.combinations(rows, 2)
        if second.baseline not in first.same
    ]
    for pair in pairs:
        first, second = sorted(pair, key=lambda row: -row.spreads[measure].mean)
        found = _difference(first, second, measure)
        assert found is not None
        p = found.p()
        corrected = None if p is None else min(1.0, p * len(pairs))
        yield Pair(first.baseline, second.baseline, found.gain, corrected)


def _place(row: Row, rows: Sequence[Row], measure: str) -> float | None:
    """Where the source has a baseline in its group, by rank or else by figure; less is better."""
    if any(each.rank is not None for each in rows):
        return row.rank
    return -row.figure[1] if row.figure is not None and row.figure[0] == measure else None


def _missing(rows: Iterable[Row], measure: str) -> Iterable[Row]:
    """Those that lack a figure of a run that was asked for, each once."""
    by_name = {row.baseline: row for row in rows}
    return (row for row in by_name.values() if row.reached(measure) < max(row.asked, 1))


def _difference(better: Row, worse: Row, measure: str) -> Contrast | None:
    if measure not in better.spreads or measure not in worse.spreads:
        return None
    return contrast([(1, better.spreads[measure]), (-1, worse.spreads[measure])])


def _claim(claim: Mapping[str, Any], rows: Mapping[str, Row]) -> Claim:
    two, within = (rows[claim["better"]], rows[claim["worse"]]), claim["within"]
    missing = tuple(_missing(two, claim["measure"]))
    found = _difference(*two, claim["measure"])
    if found is None:
        return Claim(**claim, verdict=Verdict.OPEN, missing=missing)
    ahead, p = found.gain, found.p()
    if within is not None:  # then the nearer of two bounds is what they may lie beyond
        ahead, p = within - abs(found.gain), found.p(math.copysign(within, found.gain))
    verdict = Verdict.OPEN if missing else verdict_of(ahead, p)
    return Claim(**claim, verdict=verdict, gain=found.gain, p=p, missing=missing)


def is_told(p: float | None) -> bool:
    """Whether figures differ, by the p of their being equal; it is None of what cannot be tested.

    >>> is_told(0.01), is_told(0.2), is_told(None)
    (True, False, False)
    """
    return p is not None and p < TOLD_APART


def verdict_of(ahead: float, p: float | None) -> Verdict:
    """Whether something is ahead, as its source says, where p is that of its being level."""
    if not is_told(p):
        return Verdict.OPEN
    return Verdict.HOLDS if ahead > 0 else Verdict.BROKEN
