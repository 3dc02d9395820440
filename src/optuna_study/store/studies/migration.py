"""A study under a changed definition: written anew beside the old one, which is renamed.

Optuna holds all choices of a parameter to be those of its first trial, so the rows of parameters
are written anew with the new distributions. The study has a new UUID, by which a worker that holds
the old definition knows that its own is not this one. All of it is one transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from optuna_study.definition.names import bare_name, rename_variant
from optuna_study.definition.serialise import definition_hash
from optuna_study.errors import UsageError
from optuna_study.store.queue.ownership import lock_study
from optuna_study.store.records import EndKind, StudyState, TrialState
from optuna_study.store.rows import (
    parameter_rows,
    strict_json,
    utc,
    write_attributes,
)
from optuna_study.store.schema import (
    own_studies,
    own_trials,
    studies,
    trial_params,
    trial_user_attributes,
    trials,
)
from optuna_study.store.studies.copying import Copying
from optuna_study.store.studies.exclusion import leave_out
from optuna_study.store.studies.studies import insert_planned, study_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sqlalchemy import Connection

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import PlannedTrial, StoredParameter, StudyRecord
    from optuna_study.store.studies.copying import Identity

_WAITING = TrialState.WAITING.value


@dataclass(frozen=True)
class NewForm:
    """A trial as it is to stand; `why` it is excluded, None of one that is not."""

    parameters: tuple[StoredParameter, ...]
    fixed: Mapping[str, Any]
    why: str | None
    keeps_fixed: bool = False  # whether it has settings of its own, if only none


@dataclass(frozen=True)
class Plan:
    """A study as it is to stand: its trials by their numbers, and baselines that come to it."""

    new: Identity
    old_name: str  # of the old study from then on
    trials: Mapping[int, NewForm]
    planned: Sequence[PlannedTrial]
    budget: int
    seen: Mapping[int, TrialState]  # what its trials were when this was worked out


def free_name(store: Store, study: StudyRecord) -> str:
    """The name that a study takes when another takes its own."""
    taken, count = set(study_names(store)), 1
    while True:
        mark = "before" if count == 1 else f"before-{count}"
        name = rename_variant(study.name, f"{bare_name(study.name)}-{mark}")
        if name not in taken:
            return name
        count += 1


def migrate_rows(source: Store, study: StudyRecord, target: Store, plan: Plan) -> None:
    """Write a study under its new definition; `target` is another `Store` of the same URL.

    Raises:
        NotFoundError: the study was deleted meanwhile.
        UsageError: a trial runs, or came to it meanwhile.
        StoreError: the store fails.
    """
    with target.write(durable=True) as connection:
        lock_study(connection, study)
        _require_still(connection, study, plan.seen)
        with source.snapshot() as old:
            _rename(connection, study, plan.old_name)
            copying = Copying(source, old, connection, study, plan.new)
            copying.run()
        by_number = connection.execute(
            select(trials.c.number, trials.c.trial_id, trials.c.state)
            .where(trials.c.study_id == copying.study_id)
            .order_by(trials.c.number)
        ).all()
        now = target.now(connection)
        for number, trial_id, state in by_number:
            unended = now if state == _WAITING else None
            _rewrite(connection, plan, number, trial_id, unended)
        for offset, planned in enumerate(plan.planned):
            number = len(plan.trials) + offset
            insert_planned(connection, plan.new.uuid, copying.study_id, number, planned, now)
        is_it = own_studies.c.uuid == plan.new.uuid
        connection.execute(
            update(own_studies)
            .where(is_it)
            .values(
                budget=plan.budget,
                beside=own_studies.c.beside + len(plan.planned),
                importances=None,
                importances_at=None,
                importances_trials=None,
            )
        )


def _require_still(
    connection: Connection, study: StudyRecord, seen: Mapping[int, TrialState]
) -> None:
    """Refuse a study that is being worked on: what a trial comes to would be lost."""
    rows = connection.execute(
        select(trials.c.number, trials.c.state).where(trials.c.study_id == study.study_id)
    )
    if {row.number: row.state for row in rows} != {
        number: state.value for number, state in seen.items()
    }:
        raise UsageError(f"study '{study.name}' is being worked on; pause it, then try again")


def _rename(connection: Connection, study: StudyRecord, name: str) -> None:
    definition = {**study.definition, "name": name}
    connection.execute(
        update(studies).where(studies.c.study_id == study.study_id).values(study_name=name)
    )
    connection.execute(
        update(own_studies)
        .where(own_studies.c.uuid == study.uuid)
        .values(
            definition=json.dumps(definition),
            definition_hash=definition_hash(definition),
            state=StudyState.STOPPING.value,
        )
    )


def _rewrite(
    connection: Connection, plan: Plan, number: int, trial_id: int, now: float | None
) -> None:
    """Give a trial its new form; one that waits ends `now` if it is left out."""
    form = plan.trials[number]
    connection.execute(delete(trial_params).where(trial_params.c.trial_id == trial_id))
    if form.parameters:
        connection.execute(insert(trial_params), parameter_rows(trial_id, form.parameters))
    attribute = trial_user_attributes.c
    connection.execute(
        delete(trial_user_attributes).where(
            attribute.trial_id == trial_id, attribute.key == "fixed"
        )
    )
    if form.fixed:
        write_attributes(connection, trial_id, {"fixed": dict(form.fixed)})
    own: dict[str, Any] = {}
    if form.fixed or form.keeps_fixed:  # NULL says that a sampler proposed the trial
        own["fixed"] = strict_json(dict(form.fixed))
    if form.why is not None:
        leave_out(connection, trial_id, form.why)
        if now is not None:  # it waits, and nobody may train it any more
            own |= {"end_kind": EndKind.FAILED.value, "reason": "it was not trained"}
            own |= {"completed": now, "touched": now}
            connection.execute(
                update(trials)
                .where(trials.c.trial_id == trial_id)
                .values(
                    state=EndKind.FAILED.state.value,
                    datetime_start=func.coalesce(trials.c.datetime_start, utc(now)),
                    datetime_complete=utc(now),
                )
            )
    if own:
        is_it = (own_trials.c.uuid == plan.new.uuid) & (own_trials.c.number == number)
        connection.execute(update(own_trials).where(is_it).values(**own))
