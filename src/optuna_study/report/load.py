"""A study's records read from its store, with aggregates and single rows: no full load."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from optuna_study.report.summary import Summary, summarise
from optuna_study.store import reads
from optuna_study.store.schema import own_trials

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.open import Store
    from optuna_study.store.records import StudyRecord, TrialRecord

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


def now() -> float:
    """UTC seconds by this machine's clock."""
    return time.time()
