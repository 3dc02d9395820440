"""A comparison of baselines as people and programs read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.report.comparison import TEST, TRAIN, VALIDATION, Verdict, compare
from optuna_study.report.curves import CLASS_COUNTS
from optuna_study.report.tables import heading, table
from optuna_study.store.aggregates import compared_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.report.comparison import Group, Pair, Row, Spread
    from optuna_study.store.open import Store
    from optuna_study.store.records import StudyRecord

MEASURES = {TEST: "test", VALIDATION: "validation", TRAIN: "training"}
NAMED_PAIRS = 3  # a sentence names no more


def is_comparison(study: StudyRecord) -> bool:
    """Whether a study compares its baselines and searches nothing."""
    return study.definition.get("only") is not None


def load_groups(store: Store, study: StudyRecord) -> tuple[Group, ...]:
    """The groups of a study's baselines with what their runs came to.

    Raises:
        StoreError: the store fails.
    """
    return compare(study.definition["baselines"], compared_runs(store, study), chance(study))


def chance(study: StudyRecord) -> float | None:
    """The accuracy of guessing the largest class, None where a study does not know its classes."""
    counts: Sequence[int] | None = study.environment.get(CLASS_COUNTS)
    return max(counts) / sum(counts) if counts else None


def groups_block(study: StudyRecord, groups: Sequence[Group]) -> str:
    """Every group as a table, and whether its source's order holds."""
    blocks = []
    for group in groups:
        headers, rows = columns(group)
        prose = ("source reported",)
        blocks.append(f"{heading(group.name or 'baselines')}\n{table(headers, rows, prose=prose)}")
        blocks[-1] += f"\n{verdict_sentence(group)}"
    if any(row.diverged for group in groups for row in group.rows):
        blocks.append(diverged_sentence(study))
    return "\n\n".join(blocks)


def columns(group: Group) -> tuple[list[str], list[list[Any]]]:
    """A group's headers and cells; a measure that no run has, or no figure, is left out.

    `points off` is how far a mean lies from the source's figure.
    """
    measures = [name for name in MEASURES if any(name in row.spreads for row in group.rows)]
    figures = any(row.figure for row in group.rows)
    headers = [
        "baseline",
        *(["source", "points off"] if figures else []),
        *(MEASURES[name] for name in measures),
        "runs",
        "diverged",
        "source reported",
    ]
    rows = [
        [
            row.baseline,
            *([source_figure(row), points_off(row)] if figures else []),
            *(shown(row.spreads.get(name)) for name in measures),
            row.runs,
            row.diverged,
            row.reported,
        ]
        for row in group.rows
    ]
    return headers, rows


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
    """Mean and standard deviation in per cent.

    >>> from optuna_study.report.comparison import Spread
    >>> shown(Spread((0.9, 0.92))), shown(Spread((0.9,))), shown(None)
    ('91.0 ± 1.4 %', '90.0 %', '-')
    """
    if spread is None:
        return "-"
    around = "" if spread.deviation is None else f" ± {100 * spread.deviation:.1f}"
    return f"{100 * spread.mean:.1f}{around} %"


def verdict_sentence(group: Group) -> str:
    """Whether the order that the source gives is found again, in a sentence."""
    if group.verdict is Verdict.NONE:
        return "The source gives no order."
    if group.verdict is Verdict.HOLDS:
        return "The source's order holds."
    if group.verdict is Verdict.BROKEN:
        return f"The source's order does not hold: {_named(group.reversed, 'is behind')}."
    ahead = all(pair.gain >= 0 for pair in group.undecided)
    means = "the means stand in it" if ahead else "the means do not all stand in it"
    return (
        f"The source's order is left open: {means}, yet these runs do not tell apart "
        f"{_named(group.undecided, 'and')}."
    )


def diverged_sentence(study: StudyRecord) -> str:
    """What a run that diverged counts as."""
    guessing = chance(study)
    if guessing is None:
        return "Runs that diverged are left out of the means."
    return f"A run that diverged counts as chance level, {100 * guessing:.1f} %."


def comparison_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Everything of the groups, for programs."""
    return [
        {
            "group": group.name,
            "measure": group.measure,
            "order": group.verdict,
            "pairs": [
                {"better": pair.better, "worse": pair.worse, "gain": pair.gain, "p": pair.p}
                for pair in group.pairs
            ],
            "baselines": [_row(row) for row in group.rows],
        }
        for group in groups
    ]


def _row(row: Row) -> dict[str, Any]:
    return {
        "baseline": row.baseline,
        "reported": row.reported,
        "figure": None if row.figure is None else {row.figure[0]: row.figure[1]},
        "rank": row.rank,
        "runs": row.runs,
        "diverged": row.diverged,
        **{
            name: None
            if name not in row.spreads
            else {
                "mean": row.spreads[name].mean,
                "deviation": row.spreads[name].deviation,
                "values": list(row.spreads[name].values),
            }
            for name in MEASURES
        },
    }


def _named(pairs: Sequence[Pair], word: str) -> str:
    listed = [
        f"{pair.better} {word} {pair.worse} ({100 * pair.gain:+.1f} points, p = {pair.p:.2g})"
        for pair in pairs[:NAMED_PAIRS]
    ]
    more = len(pairs) - len(listed)
    return "; ".join([*listed, *([f"and {more} more pairs"] if more else [])])
