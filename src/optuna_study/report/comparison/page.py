"""A comparison of baselines as people and programs read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.report.comparison.compare import (
    TEST,
    TRAIN,
    VALIDATION,
    Claim,
    Comparison,
    Group,
    Known,
    Pair,
    Row,
    Verdict,
    compare,
)
from optuna_study.report.tables import heading, paragraph, table
from optuna_study.store.reads.aggregates import compared_runs
from optuna_study.store.records import EndKind, StudyRecord
from optuna_study.store.schema import CLASS_COUNTS, SIDE_COUNTS
from optuna_study.text import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.report.comparison.welch import Spread
    from optuna_study.report.curves.read import Reading
    from optuna_study.store.engine.connection import Store

MEASURES = {TEST: "test", VALIDATION: "validation", TRAIN: "training"}
WITHOUT = {
    EndKind.FAILED: "failed",
    EndKind.OUT_OF_MEMORY: "out of memory",
    EndKind.PRUNED: "out of time",  # nothing else ends a baseline early
}
BELOW = (
    *("source reported", "curves", "without figures", "given up"),
    *(MEASURES[TRAIN], MEASURES[VALIDATION]),
)
"""Columns that leave a table too wide, the first one first."""
CLAIMS_BELOW = ("here", "against", "of this")
NAMED = 3  # a sentence names no more
UNTESTED = "single or equal runs tell nothing"  # of the error of their means, so there is no p


def is_comparison(study: StudyRecord) -> bool:
    """Whether a study compares its baselines and searches nothing."""
    return study.definition.get("only") is not None


def load_comparison(store: Store, study: StudyRecord, readings: Sequence[Reading]) -> Comparison:
    """What a study's baselines came to; `readings` are what its curves say, as far as known.

    Raises:
        StoreError: the store fails.
    """
    known = Known(
        chance(study),
        study.environment.get(SIDE_COUNTS, {}),
        {each.trial.number: each.diagnosis.pattern.value for each in readings},
    )
    return compare(study.definition, compared_runs(store, study), known)


def chance(study: StudyRecord) -> float | None:
    """The accuracy of guessing the largest class, None where a study does not know its classes."""
    counts: Sequence[int] | None = study.environment.get(CLASS_COUNTS)
    return max(counts) / sum(counts) if counts else None


def comparison_blocks(study: StudyRecord, comparison: Comparison) -> list[str]:
    """Every group as a table with whether its source's order holds, the claims, and footnotes."""
    blocks = []
    for group in comparison.groups:
        headers, rows = columns(group)
        drawn = table(headers, rows, prose=("curves", "source reported"), below=BELOW)
        verdict = paragraph(verdict_sentence(group))
        blocks.append(f"{heading(group.name or 'baselines')}\n{drawn}\n{verdict}")
    if comparison.claims:
        headers, rows = claim_columns(comparison)
        drawn = table(headers, rows, prose=("the source says", "here"), below=CLAIMS_BELOW)
        blocks.append(f"{heading('claims')}\n{drawn}")
    return [*blocks, *map(paragraph, footnotes(study, comparison))]


def columns(group: Group) -> tuple[list[str], list[list[Any]]]:
    """A group's headers and cells; what no row has is left out.

    `points off` is how far a mean lies from the source's figure.
    """
    cells = [_cells(row) for row in group.rows]
    told = {name for row in cells for name, cell in row.items() if cell != "-"}
    headers = [name for name in cells[0] if name in told or name in ("baseline", "runs")]
    if "source" in headers and "points off" not in headers:
        headers.insert(headers.index("source") + 1, "points off")
    return headers, [[row[name] for name in headers] for row in cells]


def claim_columns(comparison: Comparison) -> tuple[list[str], list[list[Any]]]:
    """The headers and cells of what the source says of two baselines."""
    rows = {row.baseline: row for row in comparison.rows}
    cells = [
        [
            claim.text,
            *(_beside(rows[name], claim.measure) for name in (claim.better, claim.worse)),
            claim_verdict(claim),
        ]
        for claim in comparison.claims
    ]
    return ["the source says", "of this", "against", "here"], cells


def source_figure(row: Row) -> str:
    """The source's own figure, with what it is of where that is not the held-out pictures."""
    if row.figure is None:
        return "-"
    measure, value = row.figure
    kind = "" if measure == TEST else f" {MEASURES[measure]}"
    return f"{100 * value:g} %{kind}"


def points_off(row: Row) -> str:
    """How far the mean lies from the source's figure, in points."""
    if row.figure is None or row.figure[0] not in row.spreads:
        return "-"
    points = 100 * (row.spreads[row.figure[0]].mean - row.figure[1])
    return f"{round(points, 1) + 0.0:+.1f}"  # the sum makes +0.0 of -0.0


def shown(spread: Spread | None) -> str:
    """Mean and standard deviation in per cent; a star where chance level stands for a figure.

    >>> from optuna_study.report.comparison.welch import Spread
    >>> shown(Spread((0.9, 0.92))), shown(Spread((0.9,))), shown(None)
    ('91.0 ± 1.4 %', '90.0 %', '-')
    >>> shown(Spread((0.2, 0.9), assumed=1)), shown(Spread((0.2, 0.2), assumed=2))
    ('55.0 ± 49.5 %*', '20.0 %*')
    """
    if spread is None:
        return "-"
    around = ""
    if spread.deviation is not None and spread.assumed < len(spread.values):
        around = f" ± {100 * spread.deviation:.1f}"
    return f"{100 * spread.mean:.1f}{around} %{'*' if spread.assumed else ''}"


def verdict_sentence(group: Group) -> str:
    """Whether the order that the source gives is found again, in a sentence."""
    if group.verdict is Verdict.NONE:
        return f"The source gives no order.{_told(group)}"
    if group.verdict is Verdict.HOLDS:
        return "The source's order holds."
    if group.verdict is Verdict.BROKEN:
        return f"The source's order does not hold: {_named(group.reversed, 'is behind')}."
    if group.missing:
        return f"The source's order is left open, {_missing(group.missing, group.measure)}."
    ahead = all(pair.gain >= 0 for pair in group.undecided)
    means = "the means stand in it" if ahead else "the means do not all stand in it"
    why = f"these runs do not tell apart {_named(group.undecided, 'and')}"
    if all(pair.p is None for pair in group.undecided):
        why = UNTESTED
    return f"The source's order is left open: {means}, yet {why}."


def claim_verdict(claim: Claim) -> str:
    """Whether a claim holds, in words."""
    if claim.missing:
        return f"left open, {_missing(claim.missing, claim.measure)}"
    return verdict_words(claim.verdict, claim.p)


def verdict_words(verdict: Verdict, p: float | None) -> str:
    """A verdict with the p it rests on, or why there is none.

    >>> verdict_words(Verdict.OPEN, 0.731), verdict_words(Verdict.OPEN, None)
    ('left open (p = 0.73)', 'left open: single or equal runs tell nothing')
    """
    if p is None:
        return f"left open: {UNTESTED}"
    return f"{'left open' if verdict is Verdict.OPEN else verdict} (p = {p:.2g})"


def footnotes(study: StudyRecord, comparison: Comparison) -> list[str]:
    """What a reader has to know of the figures: which are no measurements, which stand twice."""
    notes = []
    alike = {tuple(sorted((row.baseline, *row.same))) for row in comparison.rows if row.same}
    for names in sorted(alike):
        listed = f"{', '.join(names[:-1])} and {names[-1]}"
        notes.append(f"{listed} are one configuration; each row is of the runs of all of them.")
    guessing = chance(study)
    if guessing is None and any(row.given_up for row in comparison.rows):
        notes.append("Runs that were given up without a figure are left out of its mean.")
    elif guessing is not None and any(
        spread.assumed for row in comparison.rows for spread in row.spreads.values()
    ):
        level = percent(guessing)
        notes.append(f"* A run that was given up without this figure counts as chance, {level}.")
    return notes


def group_rows(comparison: Comparison | None) -> list[dict[str, Any]]:
    """Everything of the groups, for programs."""
    return [
        {
            "group": group.name,
            "measure": group.measure,
            "order": group.verdict,
            "missing": [row.baseline for row in group.missing],
            "pairs": [
                {"better": pair.better, "worse": pair.worse, "gain": pair.gain, "p": pair.p}
                for pair in group.pairs
            ],
            "baselines": [_row(row) for row in group.rows],
        }
        for group in (comparison.groups if comparison else ())
    ]


def claim_rows(comparison: Comparison | None) -> list[dict[str, Any]]:
    """Everything of the claims, for programs."""
    return [
        {
            "text": claim.text,
            "better": claim.better,
            "worse": claim.worse,
            "measure": claim.measure,
            "within": claim.within,
            "verdict": claim.verdict,
            "missing": [row.baseline for row in claim.missing],
            "gain": claim.gain,
            "p": claim.p,
        }
        for claim in (comparison.claims if comparison else ())
    ]


def _cells(row: Row) -> dict[str, Any]:
    return {
        "baseline": row.baseline,
        "source": source_figure(row),
        "points off": points_off(row),
        **{name: shown(row.spreads.get(measure)) for measure, name in MEASURES.items()},
        "runs": row.runs if row.runs == row.asked else f"{row.runs} of {row.asked}",
        "given up": _counted(row.given_up),
        "without figures": _counted({WITHOUT[end]: n for end, n in row.without.items()}),
        "curves": _counted(row.patterns),
        "source reported": row.reported or "-",
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "baseline": row.baseline,
        "reported": row.reported,
        "figure": None if row.figure is None else {row.figure[0]: row.figure[1]},
        "rank": row.rank,
        "same": list(row.same),
        "asked": row.asked,
        "runs": row.runs,
        "given_up": dict(row.given_up),
        "without_figures": {end.value: amount for end, amount in row.without.items()},
        "curves": dict(row.patterns),
        **{
            name: None
            if name not in row.spreads
            else {
                "mean": row.spreads[name].mean,
                "deviation": row.spreads[name].deviation,
                "values": list(row.spreads[name].values),
                "assumed": row.spreads[name].assumed,
            }
            for name in MEASURES
        },
    }


def _beside(row: Row, measure: str) -> str:
    kind = "" if measure == TEST else f" {MEASURES[measure]}"
    return f"{row.baseline}: {shown(row.spreads.get(measure))}{kind}"


def _counted(amounts: Mapping[str, int]) -> str:
    ordered = sorted(amounts.items(), key=lambda each: (-each[1], each[0]))
    parts = [f"{amount} {name.replace('_', ' ')}" for name, amount in ordered]
    return ", ".join(parts) or "-"


def _told(group: Group) -> str:
    """Which baselines differ, where the source does not say which should."""
    if not group.pairs:
        return ""
    told = _named(group.told, "is ahead of") if group.told else "no two"
    if all(pair.p is None for pair in group.pairs):
        told = f"no two, since {UNTESTED}"
    return f" Told apart here: {told}."


def _missing(rows: Sequence[Row], measure: str) -> str:
    """Which rows lack runs: that are still to come, or that will not."""
    word = "not finished" if any(row.waiting for row in rows) else "runs are missing"
    listed = [f"{row.baseline} has {row.reached(measure)} of {row.asked}" for row in rows[:NAMED]]
    return f"{word}: {_listed(listed, len(rows))}"


def _named(pairs: Sequence[Pair], word: str) -> str:
    listed = [
        f"{pair.better} {word} {pair.worse} ({100 * pair.gain:+.1f} points, {_tested(pair)})"
        for pair in pairs[:NAMED]
    ]
    return _listed(listed, len(pairs))


def _tested(pair: Pair) -> str:
    return "untested" if pair.p is None else f"p = {pair.p:.2g}"


def _listed(parts: Sequence[str], whole: int) -> str:
    more = whole - len(parts)
    return "; ".join([*parts, *([f"and {more} more"] if more else [])])
