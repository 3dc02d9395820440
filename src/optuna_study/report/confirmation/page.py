"""A study's confirmation as people and programs read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna_study.report import values as words
from optuna_study.report.confirmation.verdict import (
    Confirmed,
    Interval,
    Known,
    Outcome,
    Verdict,
    judge,
)
from optuna_study.report.tables import heading, paragraph, table
from optuna_study.store.reads.aggregates import confirmation_runs
from optuna_study.store.schema import CLASS_COUNTS, NEIGHBOURS, SIDE_COUNTS
from optuna_study.text import count, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord, TrialRecord

WHAT_THEY_ARE = (
    "Search: one run, chosen by this very figure, so too good on average. Confirmed: mean "
    "of fresh seeds on the same validation pictures. Test: mean on held-out pictures, looked at "
    "here for the first time. Intervals: 95 %."
)
SHARES = ("accuracy", "macro_f1")  # ends of the names of metrics that are fractions of pictures


@dataclass(frozen=True)
class Confirmation:
    """The confirmation of a study: `verdict` is None before all runs planned have ended.

    `trials` are those that are confirmed, by number.
    """

    planned: int
    ended: int
    verdict: Verdict | None
    trials: Mapping[int, TrialRecord]

    @property
    def winner(self) -> TrialRecord | None:
        """The best trial by its confirmation runs."""
        return None if self.verdict is None else self.trials.get(self.verdict.winner.trial)


def load_confirmation(store: Store, study: StudyRecord) -> Confirmation | None:
    """What a study's confirmation came to; None of one that has no confirmation runs.

    Raises:
        StoreError: the store fails.
    """
    from optuna_study.store.reads import reads

    runs = confirmation_runs(store, study)
    if not runs:
        return None
    trials = {number: reads.trial(store, study, number) for number in {r.confirms for r in runs}}
    ended = sum(run.end is not None for run in runs)
    verdict = None
    if ended == len(runs) and study.confirm is None:
        baselines = frozenset(number for number, each in trials.items() if each.baseline)
        verdict = judge(runs, baselines, _known(study))
    return Confirmation(len(runs), ended, verdict, trials)


def guessing(study: StudyRecord) -> float | None:
    """The accuracy of guessing the largest class; None where the classes are not known."""
    counts: Sequence[int] | None = study.environment.get(CLASS_COUNTS)
    return max(counts) / sum(counts) if counts else None


def floors(study: StudyRecord) -> list[str]:
    """A sentence on what each way without training reaches, as far as it is known."""
    guess, near = guessing(study), study.environment.get(NEIGHBOURS)
    lines = []
    if guess is not None:
        lines.append(f"Guessing the largest class gives {percent(guess)}.")
    if near is not None:
        lines.append(f"The nearest neighbours by the network's features give {percent(near)}.")
    return lines


def _known(study: StudyRecord) -> Known:
    sides: Mapping[str, int] = study.environment.get(SIDE_COUNTS) or {}
    return Known(
        direction=study.direction,
        shares=study.metric.endswith(SHARES),
        validation=sides.get("validation"),
        test=sides.get("test"),
        guessing=guessing(study),
    )


def verdict_row(confirmation: Confirmation | None) -> dict[str, Any] | None:
    """The verdict for programs, None before there is one; fractions, not per cent."""
    if confirmation is None or confirmation.verdict is None:
        return None
    found = confirmation.verdict
    winner, against = found.winner, found.against
    trial = confirmation.trials[winner.trial]
    return {
        "outcome": found.outcome.value,
        "sentence": sentence(confirmation),
        "winner": winner.trial,
        "against": None if against is None else against.trial,
        "searched": trial.value,
        "mean": winner.mean and winner.mean.mean,
        "interval": _bounds(winner.mean),
        "test_accuracy": winner.test and winner.test.mean,
        "test_interval": _bounds(winner.test),
        "difference": found.difference and found.difference.mean,
        "difference_interval": _bounds(found.difference),
        "p": found.p,
        "runs": winner.runs,
        "test_pictures": found.pictures,
        "seeds_needed": found.seeds_needed,
        "pictures_needed": found.pictures_needed,
        "confirmed": [
            {
                "trial": each.trial,
                "baseline": confirmation.trials[each.trial].baseline,
                "searched": confirmation.trials[each.trial].value,
                "runs": each.runs,
                "diverged": each.diverged,
                "mean": each.mean and each.mean.mean,
                "interval": _bounds(each.mean),
                "test_accuracy": each.test and each.test.mean,
                "test_interval": _bounds(each.test),
            }
            for each in found.confirmed
        ],
    }


def _bounds(interval: Interval | None) -> list[float] | None:
    if interval is None or interval.low is None or interval.high is None:
        return None
    return [interval.low, interval.high]


def sentence(confirmation: Confirmation) -> str:
    """The verdict in one sentence; how far it is before there is one."""
    found = confirmation.verdict
    if found is None:
        runs = count(confirmation.planned, "confirmation run")
        return f"Confirmation: {confirmation.ended} of {runs} planned so far have ended."
    ours = _named(confirmation, found.winner)
    if found.against is None:
        return f"{ours} is the only one that was confirmed: nothing to hold it against."
    theirs = _named(confirmation, found.against, begins=False)
    if found.difference is None or found.winner.test is None or found.against.test is None:
        return f"{ours} and {theirs} are not distinguishable: too few runs have test figures."
    pictures = f"the {found.pictures:,} held-out pictures" if found.pictures else "held-out ones"
    figures = (
        f"{percent(found.winner.test.mean)} against {percent(found.against.test.mean)} of "
        f"{pictures} over {count(found.winner.runs, 'fresh seed')} "
        f"({_points(found.difference)})"
    )
    if found.outcome is Outcome.NOT_DISTINGUISHABLE:
        return f"{ours} and {theirs} are not distinguishable: {figures}{_needed(found)}."
    return f"{ours} is {found.outcome.value} than {theirs}: {figures}."


def _named(confirmation: Confirmation, each: Confirmed, *, begins: bool = True) -> str:
    baseline = confirmation.trials[each.trial].baseline
    name = f"the baseline {baseline}" if baseline else f"trial {each.trial}"
    return name[0].upper() + name[1:] if begins else name


def _points(gain: Interval) -> str:
    assert gain.low is not None
    assert gain.high is not None
    mean, low, high = (100 * value for value in (gain.mean, gain.low, gain.high))
    return f"{mean:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"


def _needed(found: Verdict) -> str:
    if found.pictures_needed is not None:
        return f"; about {found.pictures_needed:,} held-out pictures would tell"
    if found.seeds_needed is not None:
        return f"; about {found.seeds_needed:,} seeds would tell"
    return "; no number of pictures or seeds within reach would tell"


def confirmation_block(confirmation: Confirmation, metric: str) -> str:
    """The verdict, and what was confirmed with each figure under the name of what it is."""
    said = paragraph(sentence(confirmation))
    headers, rows = confirmed_columns(confirmation, metric)
    if not rows:
        return said
    drawn = table(headers, rows)
    return f"{heading('Confirmed')}\n{said}\n\n{drawn}\n{paragraph(WHAT_THEY_ARE)}"


def confirmed_columns(
    confirmation: Confirmation, metric: str
) -> tuple[list[str], list[list[str]]]:
    """What was confirmed: trial, the search's value, the confirmed and the test figure, seeds.

    No rows before there is a verdict.
    """
    rows = []
    for each in confirmation.verdict.confirmed if confirmation.verdict else ():
        trial = confirmation.trials[each.trial]
        rows.append(
            [
                f"{each.trial}{f' ({trial.baseline})' if trial.baseline else ''}",
                words.metric(metric, trial.value),
                interval_text(metric, each.mean),
                interval_text(words.ACCURACY, each.test),
                f"{each.runs}" + (f", {each.diverged} diverged" if each.diverged else ""),
            ]
        )
    return ["trial", "search", "confirmed", "test", "seeds"], rows


def interval_text(metric: str, interval: Interval | None) -> str:
    """A mean of the metric with its interval where that is known."""
    if interval is None:
        return "-"
    mean = words.metric(metric, interval.mean)
    if interval.low is None or interval.high is None:
        return mean
    if metric.endswith(SHARES):
        return f"{mean} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
    return f"{mean} ({interval.low:.4f} to {interval.high:.4f})"
