"""A study's records read from its store, with aggregates and single rows: no full load."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from optuna_study.report.export import trial_config
from optuna_study.report.summary import Running, Summary, running_trial, summarise
from optuna_study.store import reads
from optuna_study.store.schema import own_trials

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.store.open import Store
    from optuna_study.store.records import RunningTrial, StudyRecord, TrialRecord

LOG_LINES = 20
LOG_BYTES = 65_536


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


def log_tail(file: Path) -> list[str]:
    """The last lines of a worker's log, none when the file is not here."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - LOG_BYTES))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-LOG_LINES:]


class Follower:
    """A study read again and again; what has ended, and what a trial is, is read once."""

    def __init__(self, store: Store, study: StudyRecord) -> None:
        self.store = store
        self.study = study
        self._seen = set(ended_numbers(store, study))
        self._known: dict[int, TrialRecord] = {}

    def summary(self) -> Summary:
        """What the study has come to by now."""
        return load_summary(self.store, self.study)

    def running(self) -> list[Running]:
        """The trials at work now."""
        return [self._running(each) for each in reads.progress(self.store, self.study)]

    def newly_ended(self) -> list[TrialRecord]:
        """The trials that have ended since the last call, in the order of their ends."""
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
        drawn = trial.parameters or trial.fixed
        config = self.study.definition["config"]
        epochs = (
            trial_config(self.study, trial).train.epochs if drawn else config["train"]["epochs"]
        )
        return running_trial(progress, trial, epochs)


def now() -> float:
    """UTC seconds by this machine's clock."""
    return time.time()
