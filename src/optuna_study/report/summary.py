"""What a study has come to, worked out from its records; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optuna_study.report import values as words
from optuna_study.store.queue.budget import is_of_second_stage, stage_table
from optuna_study.store.records import (
    Counts,
    EndKind,
    EpochRecord,
    RunningTrial,
    StudyRecord,
    TrialRecord,
    TrialState,
)
from optuna_study.store.schema import SIDE_COUNTS
from optuna_study.text import Advice, count, join_words, percent, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.report.comparison.compare import Comparison
    from optuna_study.report.confirmation.page import Confirmation
    from optuna_study.store.pareto import Weighed


@dataclass(frozen=True)
class Summary:
    """One study at one moment.

    `baselines` stand in the study file's order; `reported` is what the source saw, by name. Where
    baselines are compared, `comparison` stands in their place: several runs a baseline.
    """

    study: StudyRecord
    counts: Counts
    best: TrialRecord | None
    best_baseline: TrialRecord | None
    baselines: tuple[TrialRecord, ...]
    reported: Mapping[str, str]
    seconds_left: float | None
    comparison: Comparison | None = None
    confirmation: Confirmation | None = None
    excluded: Mapping[int, str] = field(default_factory=dict)  # trials left out, and why
    weighed: tuple[Weighed, ...] = ()  # completed trials of a study with two objectives
    figures: EpochRecord | None = None  # of the epoch whose weights the winner keeps

    @property
    def winner(self) -> TrialRecord | None:
        """The best trial: by its confirmation runs, where it has some, else by the search."""
        confirmed = None if self.confirmation is None else self.confirmation.winner
        return confirmed or self.best

    @property
    def validation_pictures(self) -> int | None:
        """How many pictures values are measured on; None in studies that did not record it."""
        sides: Mapping[str, int] = self.study.environment.get(SIDE_COUNTS) or {}
        return sides.get("validation")

    @property
    def stand_in(self) -> str | None:
        """The built-in data set that stands in for pictures that were absent, if one does."""
        definition = self.study.definition
        name: str | None = definition["stand_in"]
        used = definition["config"]["data"]["name"] == name and self.study.data_source == name
        return name if used else None


@dataclass(frozen=True)
class Running:
    """A trial that is being trained now, and how far it is."""

    trial: TrialRecord
    progress: RunningTrial


def summarise(
    study: StudyRecord,
    counts: Counts,
    best: TrialRecord | None,
    baselines: Sequence[TrialRecord],
    mean_seconds: float | None,
    running: Sequence[RunningTrial] = (),
    comparison: Comparison | None = None,
    confirmation: Confirmation | None = None,
    excluded: Mapping[int, str] | None = None,
    weighed: Sequence[Weighed] = (),
) -> Summary:
    """Put a study's records together; `mean_seconds` is what an ended trial took on average."""
    ordered = tuple(sorted(baselines, key=lambda trial: trial.number))
    return Summary(
        study=study,
        counts=counts,
        best=best,
        best_baseline=best_of(ordered, study.direction),
        baselines=ordered,
        reported={each["name"]: each["reported"] for each in study.definition["baselines"]},
        seconds_left=seconds_left(counts, study.total, mean_seconds, running),
        comparison=comparison,
        confirmation=confirmation,
        excluded=excluded or {},
        weighed=tuple(weighed),
    )


def best_of(trials: Sequence[TrialRecord], direction: str) -> TrialRecord | None:
    """The completed trial with the best value but for excluded ones; of equals the earlier."""
    sign = -1 if direction == "maximize" else 1
    ranked = [
        (sign * trial.value, trial.number, trial)
        for trial in trials
        if trial.state is TrialState.COMPLETE
        and trial.value is not None
        and trial.excluded is None
    ]
    return min(ranked, key=lambda entry: entry[:2])[2] if ranked else None


def seconds_left(
    counts: Counts,
    total: int,
    mean_seconds: float | None,
    running: Sequence[RunningTrial],
) -> float | None:
    """How long the rest of `total` trials takes at our workers' pace so far, None if unknown.

    At least what the slowest of the running ones has yet to do at its last epoch's pace: one that
    trains a whole network among others that train its head.
    """
    begun = [(each, each.last) for each in running if each.last is not None]
    longest = max((last.seconds * (each.epochs - last.epoch) for each, last in begun), default=0.0)
    remaining, ours = total - counts.ended, counts.running - counts.plain_running
    if remaining <= 0:
        return 0.0
    if mean_seconds is None or not ours:
        return longest or None
    trained = sum(last.epoch / each.epochs for each, last in begun)
    outstanding = max(remaining - trained, 0.0)
    return max(mean_seconds * outstanding / ours, longest)


def held_up(study: StudyRecord, counts: Counts) -> str:
    """What a study's next trial waits for, beside a worker; empty for nothing.

    For trials that our workers cannot end, where plain Optuna runs all that are left; for those of
    the first stage, or for cores of the machine that a launch keeps to, where the next is of the
    second.
    """
    left = study.total - counts.ended - counts.running
    if counts.ended < study.total and left <= 0 and counts.plain_running >= counts.running:
        trials = count(counts.running, "trial")
        return Advice(f"waits for {trials} of plain Optuna, see ", ["doctor", study.name])
    if left <= 0 or counts.waiting or not counts.running:
        return ""
    if not is_of_second_stage(study.definition, study.budget, left):
        return ""
    if counts.first_stage:
        trials = count(counts.first_stage, "trial")
        have = "has" if counts.first_stage == 1 else "have"
        return f"the second stage begins when {trials} of the first {have} ended"
    threads = stage_table(study.definition)["settings"].get("threads")
    own = threads not in (None, study.definition["config"]["train"]["threads"])
    if not own:
        return ""
    needed = f"{threads} cores" if threads else "all cores"
    return f"the next begins where {needed} are left and a worker is free (on Ray, a worker alone)"


def ending(trial: TrialRecord) -> str:
    """How a trial ended, or where it stands, in one word."""
    return trial.end.value if trial.end else trial.state.value.lower()


def label(trial: TrialRecord) -> str:
    """A trial's baseline, or its main settings."""
    if trial.confirms is not None:
        return f"confirms trial {trial.confirms}"
    if trial.fixed and not trial.baseline:
        return printable(f"fine-tunes, {words.headline(trial.fixed)}")
    nothing = "not drawn yet" if trial.state in (TrialState.WAITING, TrialState.RUNNING) else ""
    return printable(trial.baseline or words.headline(trial.parameters) or nothing)


def has_settings(trial: TrialRecord) -> bool:
    """Whether it is known what a trial trains: a searched one has nothing before it draws."""
    given = trial.baseline is not None or trial.confirms is not None
    return given or bool(trial.parameters or trial.fixed or trial.epochs)


def reason(trial: TrialRecord) -> str | None:
    """How the trial ended, and why.

    A trial that plain Optuna ended has no reason of ours.
    """
    if trial.end is None:
        return None
    return f"{trial.end.value}: {trial.reason}" if trial.reason else trial.end.value


def why(trial: TrialRecord) -> str:
    """Why a trial ended otherwise than planned or untrained, or is excluded."""
    if trial.excluded is not None:
        return f"excluded: {trial.excluded}"
    as_planned = trial.end in (None, EndKind.COMPLETED) and trial.reuses is None
    return "" if as_planned else str(trial.reason or "")


NAMED = 12  # excluded trials; of more their number is said
LEAST_SHARE = 0.001  # an importance below this is not shown


def importance_columns(
    study: StudyRecord, most: int | None = None
) -> tuple[list[str], list[list[str]]]:
    """What mattered: parameters with their shares, intervals and trials, the largest first."""
    rows = []
    for name, each in (study.measured_importances or {}).items():
        if each.share is None or each.share < LEAST_SHARE:
            continue
        interval = "-"
        if each.low is not None and each.high is not None:
            interval = f"{100 * each.low:.0f} to {100 * each.high:.0f} %"
        trials = "-" if each.trials is None else f"{each.trials}"
        rows.append([name, percent(each.share), interval, trials])
    return ["parameter", "share", "90 % interval", "trials"], rows[:most]


def untold_sentence(study: StudyRecord) -> str:
    """A sentence on parameters that too few completed trials had; empty without such."""
    untold = study.untold_importances
    return f"Not enough trials to tell of: {', '.join(untold)}." if untold else ""


def ended_by_kind(counts: Counts) -> str:
    """How many trials have ended that were searched, hand-chosen or of a confirmation, if any.

    >>> from optuna_study.store.records import Counts
    >>> ended_by_kind(Counts(0, 0, {EndKind.COMPLETED: 36}, {}, 0, 10, 2))
    ' (24 searched, 10 baselines, 2 confirmation runs)'
    >>> ended_by_kind(Counts(0, 0, {EndKind.COMPLETED: 36}, {}))
    ''
    """
    kinds = {"baseline": counts.baselines, "confirmation run": counts.confirmations}
    beside = [count(amount, kind) for kind, amount in kinds.items() if amount]
    return f" ({', '.join([f'{counts.searched} searched', *beside])})" if beside else ""


def excluded_clause(summary: Summary) -> str:
    """Which trials are excluded, to follow a sentence; empty without any."""
    numbers = [str(number) for number in summary.excluded]
    if not numbers:
        return ""
    named = join_words(numbers) if len(numbers) <= NAMED else f"{len(numbers)} of them"
    return f"; excluded: {named}"


def ends_by_reason(counts: Counts) -> list[str]:
    """How many trials ended in which way, in words."""
    parts = [f"{counts.ends[kind]} {kind.value}" for kind in EndKind if counts.ends.get(kind)]
    plain = sum(counts.plain.values())
    return [*parts, f"{plain} by plain Optuna"] if plain else parts
