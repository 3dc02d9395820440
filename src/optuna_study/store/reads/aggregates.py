"""What a summary needs of a study beside its records: figures that the database computes."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, exists, func, or_, select

from optuna_study.store.reads.reads import EPOCH_COLUMNS, epoch_record
from optuna_study.store.reads.trial_records import collector_paused
from optuna_study.store.records import ComparedRun, ConfirmationRun, EndKind, TrialState
from optuna_study.store.rows import stored_reason, utc_seconds
from optuna_study.store.schema import (
    EXCLUDED,
    FINETUNES,
    REUSED,
    TEST_ACCURACY,
    VALUE,
    is_excluded,
    own_epochs,
    own_trials,
    trial_user_attributes,
    trial_values,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Row

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, StudyRecord

NO_SETTINGS = "{}"  # what a baseline has that fixes none beside what is searched
MOST_VALUES = 200  # that the pruner compares: where half of them begins is known to 3.5 points


def compared_runs(store: Store, study: StudyRecord) -> list[ComparedRun]:
    """The runs of all baselines but excluded ones, by number; one statement."""
    own, last, attribute = own_trials.c, own_epochs.c, trial_user_attributes.c
    of_last = and_(last.uuid == own.uuid, last.number == own.number, last.epoch == own.epochs)
    of_test = and_(attribute.trial_id == own.trial_id, attribute.key == TEST_ACCURACY)
    query = (
        select(
            own.number,
            own.baseline,
            own.end_kind,
            own.reason,
            own.end_details,
            own.epochs,
            last.train_accuracy,
            last.validation_accuracy,
            attribute.value_json,
        )
        .select_from(
            own_trials.outerjoin(own_epochs, of_last).outerjoin(trial_user_attributes, of_test)
        )
        .where(own.uuid == study.uuid, own.baseline.is_not(None), ~is_excluded(own.trial_id))
        .order_by(own.number)
    )
    with store.read() as connection:
        return [
            ComparedRun(
                number=row.number,
                baseline=row.baseline,
                end=None if row.end_kind is None else EndKind(row.end_kind),
                reason=stored_reason(row._mapping),
                train_accuracy=row.train_accuracy,
                validation_accuracy=row.validation_accuracy,
                test_accuracy=None if row.value_json is None else json.loads(row.value_json),
            )
            for row in connection.execute(query)
        ]


def confirmation_runs(store: Store, study: StudyRecord) -> list[ConfirmationRun]:
    """A study's confirmation runs, by number; none excluded or of an excluded trial."""
    own, attribute = own_trials.c, trial_user_attributes.c
    of_test = and_(attribute.trial_id == own.trial_id, attribute.key == TEST_ACCURACY)
    of_value = and_(trial_values.c.trial_id == own.trial_id, trial_values.c.objective == 0)
    query = (
        select(
            own.number,
            own.confirms,
            own.seed,
            own.end_kind,
            VALUE.label("value"),
            attribute.value_json,
        )
        .select_from(
            own_trials.outerjoin(trial_values, of_value).outerjoin(trial_user_attributes, of_test)
        )
        .where(own.uuid == study.uuid, own.confirms.is_not(None), ~is_excluded(own.trial_id))
        .order_by(own.number)
    )
    out = excluded(store, study)
    with store.read() as connection:
        rows = [row for row in connection.execute(query) if row.confirms not in out]
    return [_confirmation_run(row) for row in rows]


def confirming(store: Store, study: StudyRecord) -> dict[int, int]:
    """The numbers of all confirmation runs, excluded ones too, each with the trial it confirms."""
    own = own_trials.c
    query = (
        select(own.number, own.confirms)
        .where(own.uuid == study.uuid, own.confirms.is_not(None))
        .order_by(own.number)
    )
    with store.read() as connection:
        return {number: confirmed for number, confirmed in connection.execute(query)}


def excluded(store: Store, study: StudyRecord) -> dict[int, str]:
    """The numbers of the trials that somebody has excluded, in order, and why."""
    return {number: str(why) for number, why in _noted(store, study, EXCLUDED).items()}


def finetuned(store: Store, study: StudyRecord) -> dict[int, int]:
    """The numbers of the second stage's trials, each with that whose settings it goes on from."""
    return {number: int(origin) for number, origin in _noted(store, study, FINETUNES).items()}


def _noted(store: Store, study: StudyRecord, key: str) -> dict[int, Any]:
    """An attribute of a study's trials by their numbers, in order, of those that have it."""
    named = {"of_id": study.study_id, "key": key}
    with store.read() as connection:
        return {number: json.loads(text) for number, text in connection.execute(_NOTED, named)}


# Built once: each proposal asks for excluded trials, and building it takes longer than SQLite.
_NOTED = (
    select(trials.c.number, trial_user_attributes.c.value_json)
    .join(trial_user_attributes, trial_user_attributes.c.trial_id == trials.c.trial_id)
    .where(
        trials.c.study_id == bindparam("of_id"), trial_user_attributes.c.key == bindparam("key")
    )
    .order_by(trials.c.number)
)


def _confirmation_run(row: Row[Any]) -> ConfirmationRun:
    end = None if row.end_kind is None else EndKind(row.end_kind)
    done = end is EndKind.COMPLETED
    tested = json.loads(row.value_json) if done and row.value_json is not None else None
    value = row.value if done else None
    return ConfirmationRun(row.number, row.confirms, row.seed, end, value, tested)


def mean_seconds(store: Store, study: StudyRecord) -> float | None:
    """What an ended trial took on average, in seconds of training; None before the first end."""
    query = select(func.avg(own_trials.c.worked)).where(
        own_trials.c.uuid == study.uuid, own_trials.c.end_kind.is_not(None)
    )
    with store.read() as connection:
        mean = connection.execute(query).scalar()
    return None if mean is None else float(mean)


def completed_trials(store: Store, study: StudyRecord) -> int:
    """How many trials of ours have completed that differ in nothing but what is searched.

    Confirmation runs and excluded trials are no such trials.
    """
    own = own_trials.c
    query = select(func.count()).where(
        own.uuid == study.uuid,
        own.end_kind == EndKind.COMPLETED.value,
        own.confirms.is_(None),
        or_(own.fixed.is_(None), own.fixed == NO_SETTINGS),
        ~is_excluded(own.trial_id),
    )
    with store.read() as connection:
        return int(connection.execute(query).scalar_one())


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


def plain_running(store: Store, study: StudyRecord) -> list[tuple[int, float | None]]:
    """The numbers of the trials that plain Optuna runs, each with its start in UTC seconds."""
    held = exists().where(
        own_trials.c.uuid == study.uuid,
        own_trials.c.number == trials.c.number,
        own_trials.c.token.is_not(None),
    )
    query = (
        select(trials.c.number, trials.c.datetime_start)
        .where(
            trials.c.study_id == study.study_id,
            trials.c.state == TrialState.RUNNING.value,
            ~held,
        )
        .order_by(trials.c.number)
    )
    with store.read() as connection:
        return [(number, utc_seconds(start)) for number, start in connection.execute(query)]


def curves(store: Store, study: StudyRecord, *, first: int = 0) -> dict[int, list[EpochRecord]]:
    """The epochs of all trials from number `first` on, by number, in order; one statement."""
    query = (
        select(*EPOCH_COLUMNS)
        .where(own_epochs.c.uuid == study.uuid, own_epochs.c.number >= first)
        .order_by(own_epochs.c.number, own_epochs.c.epoch)
    )
    found: dict[int, list[EpochRecord]] = defaultdict(list)
    with store.read() as connection, collector_paused():
        for row in connection.execute(query).all():
            found[row[0]].append(epoch_record(row))
    return found


def file_owners(
    store: Store, study: StudyRecord, numbers: Iterable[int]
) -> dict[int, tuple[bool, int, int | None]]:
    """Of some trials by number: whether ended, the claims, the claim of the checkpoint."""
    own = own_trials.c
    query = select(own.number, own.end_kind, own.claims, own.checkpoint_claim).where(
        own.uuid == study.uuid, own.number.in_(sorted(set(numbers)))
    )
    with store.read() as connection:
        return {
            number: (end is not None, claims, checkpoint)
            for number, end, claims, checkpoint in connection.execute(query)
        }


def newest_curves(
    store: Store, study: StudyRecord, most: int
) -> tuple[list[tuple[int, int]], int]:
    """The numbers and epochs of the newest trials that have a curve; how many have one in all.

    A trial has one when it has recorded an epoch, or has ended: it may have diverged in its first.
    """
    own = own_trials.c
    query = (
        select(own.number, own.epochs, func.count().over())
        .where(own.uuid == study.uuid, or_(own.epochs > 0, own.end_kind.is_not(None)), ~REUSED)
        .order_by(own.number.desc())
        .limit(most)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
    return [(number, epochs) for number, epochs, _ in rows], rows[0][2] if rows else 0


def not_compared(store: Store, study: StudyRecord) -> set[int]:
    """The numbers of the trials that no other is given up against.

    Confirmation runs and trials of the second stage, which are of the best alone, excluded trials
    and curves that stand there a second time.
    """
    own = own_trials.c
    query = select(own.number).where(own.uuid == study.uuid, _is_not_compared())
    with store.read() as connection:
        return set(connection.execute(query).scalars())


def _is_not_compared() -> ColumnElement[bool]:
    own = own_trials.c
    return or_(
        own.confirms.is_not(None),
        and_(own.baseline.is_(None), own.fixed.is_not(None)),
        REUSED,
        is_excluded(own.trial_id),
    )


def values_at(
    store: Store, study: StudyRecord, epoch: int, *, but: int | None = None
) -> list[float]:
    """The metric of the study's newest trials after `epoch`, but for the trial `but`; no NaN.

    What `not_compared` names is not among them.

    MOST_VALUES of them, newest first: all of 10,000 took 400 times as long as those of ten.
    Trials of plain Optuna have no epochs of ours and are not among them.
    """
    which = {"of_uuid": study.uuid, "at": epoch, "but": -1 if but is None else but}
    with store.read() as connection:
        return list(connection.execute(_VALUES_AT, which).scalars())


_VALUES_AT = (  # built once, as _NOTED is: each trial asks at every rung
    select(own_epochs.c.value)
    .where(
        own_epochs.c.uuid == bindparam("of_uuid"),
        own_epochs.c.epoch == bindparam("at"),
        own_epochs.c.value.is_not(None),
        own_epochs.c.number != bindparam("but"),
        ~exists().where(
            own_trials.c.uuid == own_epochs.c.uuid,
            own_trials.c.number == own_epochs.c.number,
            _is_not_compared(),
        ),
    )
    .order_by(own_epochs.c.number.desc())
    .limit(MOST_VALUES)
)
