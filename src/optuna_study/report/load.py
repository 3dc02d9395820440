"""A study's records read from its store, with aggregates and single rows: no full load."""

from __future__ import annotations

import dataclasses
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from optuna_study.report.export import trial_config
from optuna_study.report.summary import Running, Summary, seconds_left, summarise
from optuna_study.store import reads
from optuna_study.store.schema import own_trials

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.open import Store
    from optuna_study.store.records import RunningTrial, StudyRecord, TrialRecord

LOG_LINES = 20
_CLAIMED = re.compile(r" trial (\d+)( \(.*\))? claimed$")


def load_summary(store: Store, study: StudyRecord) -> Summary:
    """What a study has come to by now.

    Raises:
        StoreError: the store fails.
    """
    return summarise(
        study,
        reads.counts(store, study),
        reads.best(store, study),
        baselines(store, study),
        mean_seconds(store, study),
    )


def baselines(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """The study's baselines, by number."""
    own = own_trials
    query = (
        select(own.c.number)
        .where(own.c.uuid == study.uuid, own.c.baseline.is_not(None))
        .order_by(own.c.number)
    )
    with store.read() as connection:
        numbers = list(connection.execute(query).scalars())
    return [reads.trial(store, study, number) for number in numbers]


def mean_seconds(store: Store, study: StudyRecord) -> float | None:
    """What an ended trial took on average, in seconds of training; None before the first end."""
    query = select(func.avg(own_trials.c.worked)).where(
        own_trials.c.uuid == study.uuid, own_trials.c.end_kind.is_not(None)
    )
    with store.read() as connection:
        mean = connection.execute(query).scalar()
    return None if mean is None else float(mean)


def ended_numbers(store: Store, study: StudyRecord) -> list[int]:
    """The numbers of the trials that have ended, in the order of their ends."""
    own = own_trials
    query = (
        select(own.c.number)
        .where(own.c.uuid == study.uuid, own.c.end_kind.is_not(None))
        .order_by(own.c.completed, own.c.number)
    )
    with store.read() as connection:
        return list(connection.execute(query).scalars())


def trial_log(workspace: Workspace, study: StudyRecord, number: int) -> list[str]:
    """The last lines that workers of this machine logged while they held a trial.

    A worker has one trial at a time: what follows a claim in its log is about that trial.
    """
    found: list[str] = []
    for file in sorted(workspace.log(study.uuid, "any").parent.glob("*.log")):
        held: int | None = None
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            claimed = _CLAIMED.search(line)
            if claimed is not None:
                held = int(claimed[1])
            if held == number:
                found.append(line)
    return found[-LOG_LINES:]


@dataclass(frozen=True)
class Look:
    """A study at one look: `ended` are the trials that ended since the look before."""

    summary: Summary
    running: list[Running]
    ended: list[TrialRecord]


class Follower:
    """A study looked at again and again.

    Each look costs a few statements: what an ended trial changes is read when one has ended, what
    a running one is trained with is read once.
    """

    def __init__(self, store: Store, study: StudyRecord) -> None:
        self.store = store
        self.study = study
        self._summary = load_summary(store, study)
        self._mean = mean_seconds(store, study)
        self._seen = set(ended_numbers(store, study))
        self._known: dict[int, TrialRecord] = {}

    def look(self) -> Look:
        """What the study has come to by now.

        Raises:
            StoreError: the store fails.
        """
        counts = reads.counts(self.store, self.study)
        ended: list[TrialRecord] = []
        if counts.ended != self._summary.counts.ended:
            self._summary = load_summary(self.store, self.study)
            self._mean = mean_seconds(self.store, self.study)
            ended = self._newly_ended()
        self._summary = dataclasses.replace(
            self._summary,
            counts=counts,
            seconds_left=seconds_left(counts, self.study.budget, self._mean),
        )
        running = [self._running(each) for each in reads.progress(self.store, self.study)]
        return Look(self._summary, running, ended)

    def _newly_ended(self) -> list[TrialRecord]:
        new = [n for n in ended_numbers(self.store, self.study) if n not in self._seen]
        self._seen.update(new)
        return [reads.trial(self.store, self.study, number) for number in new]

    def _running(self, progress: RunningTrial) -> Running:
        trial = self._known.get(progress.number)
        if trial is None:
            trial = reads.trial(self.store, self.study, progress.number)
            # A trial's parameters are drawn a moment after its claim.
            if trial.parameters or trial.fixed:
                self._known[progress.number] = trial
        if trial.parameters or trial.fixed:
            epochs = trial_config(self.study, trial).train.epochs
        else:
            epochs = self.study.definition["config"]["train"]["epochs"]
        return Running(trial, progress.values, progress.last, epochs)


def now() -> float:
    """UTC seconds by this machine's clock."""
    return time.time()
