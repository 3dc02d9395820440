"""Trials that somebody has left out: kept, shown and counted, and looked at by nothing else.

It stands in the trial's own attributes, so that plain Optuna and its dashboard see it too. As a
violated constraint it keeps them from calling such a trial best.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from optuna_study.errors import NotFoundError, UsageError
from optuna_study.store.queue.ownership import lock_study
from optuna_study.store.records import TrialState
from optuna_study.store.rows import storable, write_attributes
from optuna_study.store.schema import (
    DASHBOARD_CONSTRAINTS_KEY,
    EXCLUDED,
    EXCLUDED_KEY,
    INFEASIBLE_KEY,
    REUSES,
    trial_system_attributes,
    trial_user_attributes,
    trials,
)
from optuna_study.text import Advice, join_words

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

_OPEN = (TrialState.WAITING, TrialState.RUNNING)


def exclude(store: Store, study: StudyRecord, numbers: Collection[int], reason: str) -> None:
    """Leave trials out, and those that only repeat their results; a reason given before goes.

    Raises:
        NotFoundError: the study is gone, or has no such trial.
        UsageError: one of them has not ended.
    """
    with store.write(durable=True) as connection:
        for trial_id in _ended(connection, study, numbers):
            leave_out(connection, trial_id, reason)


def leave_out(connection: Connection, trial_id: int, reason: str) -> None:
    """Write that a trial is left out, for us, for Optuna and for its dashboard."""
    write_attributes(connection, trial_id, {EXCLUDED: storable(reason)})
    violated = {EXCLUDED_KEY: 1.0, DASHBOARD_CONSTRAINTS_KEY: [1.0]}
    write_attributes(connection, trial_id, violated, system=True)


def include(store: Store, study: StudyRecord, numbers: Collection[int]) -> None:
    """Take trials back in; those that were not left out stay as they are.

    Raises:
        NotFoundError: the study is gone, or has no such trial.
        UsageError: one of them has not ended.
    """
    user, system = trial_user_attributes, trial_system_attributes
    with store.write(durable=True) as connection:
        for trial_id in _ended(connection, study, numbers):
            connection.execute(
                delete(user).where(user.c.trial_id == trial_id, user.c.key == EXCLUDED)
            )
            its = system.c.trial_id == trial_id
            gone = connection.execute(delete(system).where(its, system.c.key == EXCLUDED_KEY))
            infeasible = connection.execute(
                select(system.c.key).where(its, system.c.key == INFEASIBLE_KEY)
            ).first()
            if gone.rowcount and infeasible is None:  # else its end was one, too
                connection.execute(
                    delete(system).where(its, system.c.key == DASHBOARD_CONSTRAINTS_KEY)
                )


def _ended(connection: Connection, study: StudyRecord, numbers: Collection[int]) -> list[int]:
    """The ids of some trials, all of which have ended, and of those that repeat them untrained."""
    lock_study(connection, study)
    asked, numbers = numbers, {*numbers, *_copies(connection, study, numbers)}
    rows = connection.execute(
        select(trials.c.number, trials.c.trial_id, trials.c.state).where(
            trials.c.study_id == study.study_id, trials.c.number.in_(sorted(set(numbers)))
        )
    ).all()
    missing = sorted(set(asked) - {row.number for row in rows})
    if missing:
        raise NotFoundError(
            f"study '{study.name}' has no trial {join_words([str(each) for each in missing])}",
            Advice(["trials", study.name], " lists them"),
        )
    unended = sorted(row.number for row in rows if row.state in _OPEN)
    if unended:
        raise UsageError(
            f"study '{study.name}': trial {join_words([str(each) for each in unended])} has not "
            "ended yet",
            "wait for the end of it",
        )
    return [row.trial_id for row in rows]


def _copies(connection: Connection, study: StudyRecord, numbers: Collection[int]) -> set[int]:
    """The trials that were told the end of one of these, since their settings were the same."""
    attribute = trial_user_attributes.c
    rows = connection.execute(
        select(trials.c.number, attribute.value_json)
        .join(trial_user_attributes, attribute.trial_id == trials.c.trial_id)
        .where(trials.c.study_id == study.study_id, attribute.key == REUSES)
    )
    return {row.number for row in rows if json.loads(row.value_json) in numbers}
