"""What people and reports read: without Optuna, with connections that cannot write.

Optuna's own storage opens in a second and loads every report; here the database aggregates.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, and_, case, cast, exists, func, literal, or_, select

from optuna_study.errors import NotFoundError
from optuna_study.store.pareto import best_first
from optuna_study.store.reads.trial_records import one, select_trials, several
from optuna_study.store.records import (
    Counts,
    EndKind,
    EpochRecord,
    RunningTrial,
    StudyRow,
    StudyState,
    TrialRecord,
    TrialState,
)
from optuna_study.store.schema import (
    CONFIRMS,
    EXCLUDED,
    IS_FIRST_STAGE,
    OWNER,
    REUSED,
    VALUE,
    own_epochs,
    own_studies,
    own_trials,
    studies,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
)
from optuna_study.store.schema import trials as trial_table
from optuna_study.store.studies.studies import ours

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

SPARKLINE = 24  # values of a running trial that the live table draws
EPOCH_COLUMNS = (
    own_epochs.c.number,
    *(own_epochs.c[entry.name] for entry in fields(EpochRecord)),
)
_OUT = trial_user_attributes.c


def trials(
    store: Store,
    study: StudyRecord,
    *,
    with_parameters: bool = True,
    first: int = 0,
    numbers: Iterable[int] | None = None,
) -> list[TrialRecord]:
    """The trials of a study from number `first` on, or those with some `numbers`.

    Without parameters in about half the time.

    Raises:
        StoreError: the store fails.
    """
    number = trial_table.c.number
    which = number >= first if numbers is None else number.in_(sorted(numbers))
    with store.read() as connection:
        return several(connection, study, which, with_parameters=with_parameters)


def baselines(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """The study's baselines, by number."""
    own = own_trials
    named = select(own.c.number).where(own.c.uuid == study.uuid, own.c.baseline.is_not(None))
    with store.read() as connection:
        return several(connection, study, trial_table.c.number.in_(named))


def failed_or_waiting(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """The trials that failed and those that wait with a checkpoint, by number."""
    own = own_trials.c
    waits = and_(own.checkpoint_epoch > 0, own.end_kind.is_(None), own.token.is_(None))
    found = select(own.number).where(
        own.uuid == study.uuid, or_(own.end_kind == EndKind.FAILED.value, waits)
    )
    with store.read() as connection:
        return several(connection, study, trial_table.c.number.in_(found))


def trial(store: Store, study: StudyRecord, number: int) -> TrialRecord:
    """One trial of a study.

    Raises:
        NotFoundError: there is none with this number.
    """
    with store.read() as connection:
        found = one(connection, select_trials(study).where(trial_table.c.number == number))
        if found is None:
            count = connection.execute(
                select(func.count()).where(trial_table.c.study_id == study.study_id)
            ).scalar_one()
            known = f"it has the numbers 0 to {count - 1}" if count else "it has none yet"
            raise NotFoundError(f"study '{study.name}' has no trial {number}; {known}")
    return found


def best(store: Store, study: StudyRecord) -> TrialRecord | None:
    """The best completed trial, the earliest of equals, or None.

    Confirmation runs, excluded trials and those that repeat another's value are not looked at.
    """
    attribute = trial_system_attributes
    infeasible = exists().where(  # of a plain Optuna trial: ours are never completed then
        attribute.c.trial_id == trial_table.c.trial_id,
        attribute.c.key.like("constraints:%"),
        cast(attribute.c.value_json, Double) > 0,
    )
    query = (
        select_trials(study)
        .where(trial_table.c.state == TrialState.COMPLETE.value, ~infeasible, VALUE.is_not(None))
        .where(own_trials.c.confirms.is_(None), ~REUSED, _OUT.value_json.is_(None))
        .order_by(*best_first(study))
        .limit(1)
    )
    with store.read() as connection:
        return one(connection, query)


def best_few(
    store: Store, study: StudyRecord, count: int, *, baselines: bool | None = None
) -> dict[int, float | None]:
    """The numbers of the best trials trained for the search; of (no) baselines only if said."""
    only = [] if baselines is None else [own_trials.c.baseline.is_not(None).is_(baselines)]
    query = (
        select_trials(study)
        .where(own_trials.c.end_kind == EndKind.COMPLETED.value, _OUT.value_json.is_(None))
        .where(own_trials.c.confirms.is_(None), ~REUSED, *only)
        .order_by(*best_first(study))
        .limit(count)
    )
    with store.read() as connection:
        return {row.number: row.value for row in connection.execute(query)}


def epochs(store: Store, study: StudyRecord, number: int) -> list[EpochRecord]:
    """The epochs of one trial, in order."""
    query = (
        select(*EPOCH_COLUMNS)
        .where(own_epochs.c.uuid == study.uuid, own_epochs.c.number == number)
        .order_by(own_epochs.c.epoch)
    )
    with store.read() as connection:
        return [epoch_record(row) for row in connection.execute(query)]


def epoch_record(row: Sequence[Any]) -> EpochRecord:
    """An epoch from the values of `EPOCH_COLUMNS`; by position, since there may be thousands."""
    _number, epoch, *figures = row
    if None in figures:
        figures = [math.nan if figure is None else figure for figure in figures]
    return EpochRecord(epoch, *figures)


def counts(store: Store, study: StudyRecord) -> Counts:
    """How many trials wait, run, and have ended in which way."""
    own = and_(own_trials.c.uuid == study.uuid, own_trials.c.number == trial_table.c.number)
    query = (
        select(
            trial_table.c.state,
            own_trials.c.end_kind,
            func.count(),
            func.count(own_trials.c.token),
            func.count(own_trials.c.baseline),
            func.count(own_trials.c.confirms),
            func.count(case((IS_FIRST_STAGE, own_trials.c.token))),
        )
        .select_from(trial_table.outerjoin(own_trials, own))
        .where(trial_table.c.study_id == study.study_id)
        .group_by(trial_table.c.state, own_trials.c.end_kind)
    )
    open_ones: dict[TrialState, int] = defaultdict(int)
    ends: dict[EndKind, int] = {}
    plain: dict[TrialState, int] = {}
    plain_running = baselines = confirmations = first_stage = 0
    with store.read() as connection:
        for state, end, count, held, planned, confirming, new in connection.execute(query):
            if end is not None:
                ends[EndKind(end)] = ends.get(EndKind(end), 0) + count
                baselines += planned
                confirmations += confirming
            elif state in (TrialState.WAITING, TrialState.RUNNING):
                open_ones[TrialState(state)] += count
                plain_running += count - held if state == TrialState.RUNNING else 0
                first_stage += new
            else:
                plain[TrialState(state)] = count
    waiting, running = open_ones[TrialState.WAITING], open_ones[TrialState.RUNNING]
    return Counts(
        waiting, running, ends, plain, plain_running, baselines, confirmations, first_stage
    )


def progress(store: Store, study: StudyRecord) -> list[RunningTrial]:
    """The trials at work with their last epochs, by number; cheap enough for a live table."""
    whole = study.definition["config"]["train"]["epochs"]  # never searched
    held = (
        select(own_trials)
        .where(own_trials.c.uuid == study.uuid, own_trials.c.token.is_not(None))
        .order_by(own_trials.c.number)
    )
    with store.read() as connection:
        running = connection.execute(held).all()
        recent = _recent_epochs(connection, study, running) if running else {}
    return [
        RunningTrial(
            number=row.number,
            owner=row.owner,
            lease_until=row.lease_until,
            epochs=json.loads(row.fixed or "{}").get("epochs", whole),
            last=recent[row.number][-1] if row.number in recent else None,
            values=tuple(epoch.value for epoch in recent.get(row.number, ())),
        )
        for row in running
    ]


def _recent_epochs(
    connection: Connection, study: StudyRecord, running: Iterable[Row[Any]]
) -> dict[int, Sequence[EpochRecord]]:
    found: dict[int, list[EpochRecord]] = defaultdict(list)
    query = (
        select(*EPOCH_COLUMNS)
        .where(
            own_epochs.c.uuid == study.uuid,
            own_epochs.c.number.in_([row.number for row in running]),
        )
        .order_by(own_epochs.c.number, own_epochs.c.epoch)
    )
    for row in connection.execute(query):
        found[row.number].append(epoch_record(row))
    return {number: rows[-SPARKLINE:] for number, rows in found.items()}


def list_studies(store: Store) -> list[StudyRow]:
    """All studies of ours, oldest first; three statements however many there are."""
    if not store.is_ours:
        return []
    with store.read() as connection:
        rows = connection.execute(
            select(studies, own_studies).select_from(ours()).order_by(own_studies.c.created)
        ).all()
        counted = {row.study_id: row for row in connection.execute(_count_trials())}
        last = select(own_trials.c.uuid, func.max(own_trials.c.touched)).group_by(
            own_trials.c.uuid
        )
        touched = {uuid: moment for uuid, moment in connection.execute(last)}
    return [_study_row(row, counted.get(row.study_id), touched.get(row.uuid)) for row in rows]


def _count_trials() -> Select[Any]:
    value = and_(
        trial_values.c.trial_id == trial_table.c.trial_id,
        trial_values.c.objective == 0,
        trial_table.c.state == TrialState.COMPLETE.value,
        ~exists().where(
            trial_user_attributes.c.trial_id == trial_table.c.trial_id,
            trial_user_attributes.c.key.in_((CONFIRMS, EXCLUDED)),
        ),
    )

    def count(state: TrialState) -> ColumnElement[int]:
        return func.sum(case((trial_table.c.state == state.value, literal(1)), else_=literal(0)))

    return (
        select(
            trial_table.c.study_id,
            func.count().label("total"),
            count(TrialState.WAITING).label("waiting"),
            count(TrialState.RUNNING).label("running"),
            func.min(VALUE).label("lowest"),
            func.max(VALUE).label("highest"),
        )
        .select_from(trial_table.outerjoin(trial_values, value))
        .group_by(trial_table.c.study_id)
    )


def _study_row(row: Row[Any], counted: Row[Any] | None, touched: float | None) -> StudyRow:
    waiting, running, total, value = 0, 0, 0, None
    if counted is not None:
        waiting, running, total = counted.waiting, counted.running, counted.total
        value = counted.highest if row.direction == "maximize" else counted.lowest
    return StudyRow(
        uuid=row.uuid,
        study_id=row.study_id,
        name=row.study_name,
        direction=row.direction,
        metric=row.metric,
        state=StudyState(row.state),
        budget=row.budget,
        data_source=row.data_source,
        created=row.created,
        last_activity=max(row.created, touched or row.created),
        waiting=waiting,
        running=running,
        ended=total - waiting - running,
        best=value,
        priority=row.priority,
        halted=row.failures_in_a_row >= row.stop_after_failures,
        beside=row.beside,
        owner=json.loads(row.environment).get(OWNER),
    )
