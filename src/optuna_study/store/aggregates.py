"""What a summary needs of a study beside its records: figures that the database computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from optuna_study.store import reads
from optuna_study.store.schema import own_trials

if TYPE_CHECKING:
    from optuna_study.store.open import Store
    from optuna_study.store.records import StudyRecord, TrialRecord


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


def recorded_epochs(store: Store, study: StudyRecord) -> int:
    """How many epochs the study's trials have reported together."""
    query = select(func.sum(own_trials.c.epochs)).where(own_trials.c.uuid == study.uuid)
    with store.read() as connection:
        return int(connection.execute(query).scalar() or 0)
