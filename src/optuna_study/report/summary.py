"""What a study has come to, worked out from its records; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.store.records import EndKind, TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.store.records import EpochRecord, StudyRecord, TrialRecord

MISSING = "not run yet"


@dataclass(frozen=True)
class Tally:
    """How many trials are in each condition; `worked` is the ended ones' seconds of training.

    `plain` are trials that Optuna itself ended in this study: counted, but without our reason.
    """

    ends: Mapping[EndKind, int]
    running: int = 0
    waiting: int = 0
    plain: int = 0
    worked: float = 0.0

    @property
    def ended(self) -> int:
        """Trials that count against the budget."""
        return sum(self.ends.values()) + self.plain


@dataclass(frozen=True)
class Summary:
    """One study at one moment.

    `baselines` stand in the study file's order; `reported` is what the source saw, by name.
    """

    study: StudyRecord
    tally: Tally
    best: TrialRecord | None
    best_baseline: TrialRecord | None
    baselines: tuple[TrialRecord, ...]
    reported: Mapping[str, str]
    seconds_left: float | None


@dataclass(frozen=True)
class Running:
    """A trial that is being trained now; `seconds` since its first claim."""

    trial: TrialRecord
    curve: tuple[EpochRecord, ...]
    epochs: int
    seconds: float


def summarise(
    study: StudyRecord,
    tally: Tally,
    best: TrialRecord | None,
    baselines: Sequence[TrialRecord],
    reported: Mapping[str, str],
) -> Summary:
    """Put a study's records together."""
    ordered = tuple(sorted(baselines, key=lambda trial: trial.number))
    return Summary(
        study=study,
        tally=tally,
        best=best,
        best_baseline=best_of(ordered, study.direction),
        baselines=ordered,
        reported=reported,
        seconds_left=seconds_left(tally, study.budget),
    )


def best_of(trials: Sequence[TrialRecord], direction: str) -> TrialRecord | None:
    """The completed trial with the best value; the earlier one of two equal ones."""
    completed = [
        trial for trial in trials if trial.state is TrialState.COMPLETE and trial.value is not None
    ]
    sign = -1 if direction == "maximize" else 1
    return min(
        completed, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None
    )


def seconds_left(tally: Tally, budget: int) -> float | None:
    """How long the rest of the budget takes at the ended trials' mean time; None when unknown."""
    remaining = budget - tally.ended
    if remaining <= 0:
        return 0.0
    if not tally.ended or not tally.worked or not tally.running:
        return None
    # Half of each running trial is done on average.
    outstanding = remaining - min(tally.running, remaining) / 2
    return tally.worked / tally.ended * outstanding / tally.running


def ending(trial: TrialRecord) -> str:
    """How a trial ended, or where it stands, in one word."""
    return trial.end.value if trial.end else trial.state.value.lower()


def reason(trial: TrialRecord) -> str | None:
    """How the trial ended, and the sentence stored with it.

    A trial that plain Optuna ended has no reason of ours.
    """
    if trial.end is None:
        return None
    return f"{trial.end.value}: {trial.reason}" if trial.reason else trial.end.value
