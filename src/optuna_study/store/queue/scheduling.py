"""Whose turn it is among the studies that share workers, and what a lost worker held in any."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from optuna_study.errors import NotFoundError
from optuna_study.store.queue import queue
from optuna_study.store.records import StudyState
from optuna_study.store.schema import own_studies, own_trials, studies
from optuna_study.store.studies.studies import ours, study_record

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import End, StudyRecord


def active_studies(store: Store) -> list[StudyRecord]:
    """The studies that hand out trials, in the order in which they are to do so.

    Higher priority first; of equals the one with the fewest trials at work, then the one that has
    waited longest since its last claim, then the oldest. Whether a budget is met is the claim's to
    say: counting it here would cost more with every ended trial.

    Raises:
        StoreError: the store fails.
    """
    if not store.is_ours:
        return []
    own = own_studies.c
    with store.read() as connection:
        at_work = (
            select(func.count())
            .where(
                own_trials.c.uuid == own.uuid,
                own_trials.c.token.is_not(None),
                own_trials.c.lease_until >= store.times(connection).lost,
            )
            .scalar_subquery()
        )
        rows = connection.execute(
            select(studies.c.study_id, studies.c.study_name, own_studies)
            .select_from(ours())
            .where(
                own.state == StudyState.ACTIVE.value,
                own.failures_in_a_row < own.stop_after_failures,
            )
            .order_by(own.priority.desc(), at_work, func.coalesce(own.claimed, 0.0), own.created)
        ).all()
    return [study_record(row) for row in rows]


def reap_all(store: Store) -> None:
    """Release what lost workers held in any study, also in one that hands out no trials.

    Raises:
        StoreError: the store fails.
    """
    if not store.is_ours:
        return
    with store.read() as connection:
        lost = own_trials.c.lease_until < store.times(connection).lost
        held = _holding(connection, lost)
    for study in held:
        with suppress(NotFoundError):  # deleted in this very moment
            queue.reap(store, study)


def count_held(store: Store, study: StudyRecord) -> int:
    """How many trials of a study are held by workers that are not lost."""
    with store.read() as connection:
        query = select(func.count()).where(
            own_trials.c.uuid == study.uuid,
            own_trials.c.token.is_not(None),
            own_trials.c.lease_until >= store.times(connection).lost,
        )
        return int(connection.execute(query).scalar_one())


def release_worker(
    store: Store, owner: str, *, end: End | None = None, strike: bool = True
) -> list[tuple[str, int]]:
    """Release at once whatever a worker known to be dead holds, or `end` it: studies and numbers.

    `strike` says that the worker was not killed from outside.

    Raises:
        StoreError: the store fails.
    """
    if not store.is_ours:
        return []
    with store.read() as connection:
        held = _holding(connection, own_trials.c.owner.startswith(owner, autoescape=True))
    released = []
    for study in held:
        with suppress(NotFoundError):  # deleted in this very moment
            numbers = queue.release_owner(store, study, owner, end=end, strike=strike)
            released += [(study.name, number) for number in numbers]
    return released


def _holding(connection: Connection, which: ColumnElement[bool]) -> list[StudyRecord]:
    """The studies with such held trials, oldest first."""
    uuids = select(own_trials.c.uuid).where(own_trials.c.token.is_not(None), which)
    query = (
        select(studies.c.study_id, studies.c.study_name, own_studies)
        .select_from(ours())
        .where(own_studies.c.uuid.in_(uuids))
        .order_by(studies.c.study_id)
    )
    return [study_record(row) for row in connection.execute(query)]


def progress(store: Store, study: StudyRecord | None) -> int:
    """Trials ended and epochs recorded, of a study of ours or of all: more is further.

    Ends alone say too little: a trial of many hours may outlive many workers.
    """
    if not store.is_ours:
        return 0
    own = own_trials.c
    query = select(func.count(own.end_kind) + func.coalesce(func.sum(own.epochs), 0))
    if study is not None:
        query = query.where(own.uuid == study.uuid)
    with store.read() as connection:
        return int(connection.execute(query).scalar_one())
