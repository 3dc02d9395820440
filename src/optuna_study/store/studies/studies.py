"""Studies in a store: made with their pinned definition, found by name, changed, deleted.

A study is ours when Optuna's study attributes carry a UUID of ours. The attribute goes when Optuna
or the dashboard deletes the study, so whatever our tables still hold of it can belong to no other;
making the next study collects it.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, insert, select, text, update

from optuna_study.config.epoch import direction_of
from optuna_study.definition.names import bare_name
from optuna_study.errors import DefinitionChangedError, NotFoundError, StoreError
from optuna_study.store.engine.failures import is_clash
from optuna_study.store.importances import importances_text, stored_importances
from optuna_study.store.queue.confirmation import UNCONFIRMED, read_confirmation
from optuna_study.store.queue.ownership import lock_study
from optuna_study.store.records import (
    NewStudy,
    StudyRecord,
    StudyState,
    TrialState,
)
from optuna_study.store.rows import (
    insert_trial,
    parameter_rows,
    storable,
    strict_json,
    write_attributes,
)
from optuna_study.store.schema import (
    UUID_KEY,
    own_studies,
    own_trials,
    quoted,
    studies,
    study_directions,
    study_system_attributes,
    trial_params,
    trials,
)
from optuna_study.store.studies.deletion import collect_orphans
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, FromClause, Row

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.importances import Importance
    from optuna_study.store.records import Confirmation, PlannedTrial

    Explain = Callable[[Mapping[str, Any], Mapping[str, Any]], Sequence[str]]

_MAKING_LOCK = 0x6F707475_6E610002


def create_study(store: Store, new: NewStudy, *, explain: Explain | None = None) -> StudyRecord:
    """Make a study, definition and baselines in one transaction, or find the one that exists.

    `explain` turns the stored and the new definition into the lines of their difference.

    Raises:
        DefinitionChangedError: the name is taken by another definition, or by a study of plain
            Optuna. FolderError: a SQLite file that cannot be written. StoreFullError: no space
            left. StoreError: the store fails.
    """
    try:
        with store.write(durable=True) as connection:
            if not is_taken(connection, new.name):
                collect_orphans(connection)
                _insert_study(connection, new, store.now(connection))
    except StoreError as error:
        if not is_clash(error):
            raise  # else plain Optuna took the name between our look and our insert
    record = find_study(store, new.name)
    if record is None:
        raise DefinitionChangedError(
            f"{store.address}: '{new.name}' is a study of plain Optuna; choose another --name"
        )
    if record.definition_hash != new.definition_hash:
        lines = explain(record.definition, new.definition) if explain else ()
        raise DefinitionChangedError(
            f"study '{new.name}' exists with another definition"
            f"{': ' if lines else ''}{'; '.join(lines)}; keep the old one, or make another study "
            "with --name"
        )
    return record


def is_taken(connection: Connection, name: str) -> bool:
    """Whether any study has this name; until the transaction ends nobody else makes one of ours.

    Plain Optuna may: then the insert clashes.
    """
    if connection.dialect.name != "sqlite":  # there the whole transaction is the lock
        connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MAKING_LOCK})
    taken = connection.execute(select(studies.c.study_id).where(studies.c.study_name == name))
    return taken.first() is not None


def _insert_study(connection: Connection, new: NewStudy, now: float) -> None:
    name = str(uuid.uuid4())
    study_id = connection.execute(
        insert(studies).values(study_name=new.name).returning(studies.c.study_id)
    ).scalar_one()
    search = new.definition.get("search") or {}
    second = search.get("second_metric")
    directions = [new.direction, *([direction_of(second)] if second else [])]
    for number, direction in enumerate(directions):
        row = {"study_id": study_id, "objective": number, "direction": direction.upper()}
        connection.execute(insert(study_directions).values(row))
    # Optuna's metric names stay unset: with them its commands print `value` as an object.
    connection.execute(
        insert(study_system_attributes).values(
            study_id=study_id, key=UUID_KEY, value_json=json.dumps(name)
        )
    )
    connection.execute(
        insert(own_studies).values(
            uuid=name,
            metric=new.metric,
            direction=new.direction,
            definition=json.dumps(new.definition),
            definition_hash=new.definition_hash,
            fingerprint=new.fingerprint,
            data_source=storable(new.data_source),
            environment=json.dumps(new.environment),
            seed=new.seed,
            budget=new.budget,
            state=StudyState.ACTIVE.value,
            stop_after_failures=search.get("stop_after_failures") or 5,
            created=now,
            priority=new.priority,
            beside=new.beside,
            searched_budget=int(new.searched_budget),
            confirm=None if new.confirm is None else json.dumps(asdict(new.confirm)),
        )
    )
    for number, planned in enumerate(new.planned):
        insert_planned(connection, name, study_id, number, planned, now)


def add_planned(
    store: Store, study: StudyRecord, planned: Sequence[PlannedTrial], budget: int
) -> None:
    """Let further baselines wait, numbered after all trials there are, and set the budget.

    Of two processes that come with the same list at once, the second finds the first one's rows:
    `planned` is the whole list, from the study's first baseline on.

    Raises:
        NotFoundError: the study is gone.
    """
    with store.write(durable=True) as connection:
        lock_study(connection, study)
        is_its = own_trials.c.uuid == study.uuid
        known = connection.execute(
            select(func.count()).where(is_its, own_trials.c.baseline.is_not(None))
        ).scalar_one()
        number = connection.execute(
            select(func.count()).where(trials.c.study_id == study.study_id)
        ).scalar_one()
        now = store.now(connection)
        for offset, each in enumerate(planned[known:]):
            insert_planned(connection, study.uuid, study.study_id, number + offset, each, now)
        connection.execute(
            update(own_studies).where(own_studies.c.uuid == study.uuid).values(budget=budget)
        )


def insert_planned(
    connection: Connection,
    name: str,
    study_id: int,
    number: int,
    planned: PlannedTrial,
    now: float,
) -> None:
    """Let a baseline wait; the caller has locked the study and counted its trials."""
    trial_id = insert_trial(connection, study_id, number, TrialState.WAITING, None)
    if planned.parameters:
        connection.execute(insert(trial_params), parameter_rows(trial_id, planned.parameters))
    write_attributes(
        connection,
        trial_id,
        {"baseline": planned.baseline, "group": planned.group, **_shown(planned.fixed)},
    )
    connection.execute(
        insert(own_trials).values(
            uuid=name,
            number=number,
            trial_id=trial_id,
            baseline=planned.baseline,
            baseline_group=planned.group,
            fixed=strict_json(dict(planned.fixed)),
            touched=now,
        )
    )


def _shown(fixed: Mapping[str, Any]) -> dict[str, Any]:
    return {"fixed": dict(fixed)} if fixed else {}


def ours() -> FromClause:
    """Optuna's studies joined with ours: nothing else connects the two."""
    attribute = study_system_attributes
    return studies.join(
        attribute, (attribute.c.study_id == studies.c.study_id) & (attribute.c.key == UUID_KEY)
    ).join(own_studies, attribute.c.value_json == quoted(own_studies.c.uuid))


def find_study(store: Store, name: str) -> StudyRecord | None:
    """The study of ours with exactly this name, or None."""
    if not store.is_ours:
        return None
    with store.read() as connection:
        row = connection.execute(
            select(studies.c.study_id, studies.c.study_name, own_studies)
            .select_from(ours())
            .where(studies.c.study_name == storable(name))
        ).first()
    return None if row is None else study_record(row)


def load_study(store: Store, name: str) -> StudyRecord:
    """The study with this name; a bare name means its only variant.

    Raises:
        NotFoundError: none of this name, or several variants of it.
    """
    exact = find_study(store, name)
    if exact is not None:
        return exact
    names = study_names(store)
    variants = [known for known in names if bare_name(known) == name]
    if len(variants) == 1:
        only = find_study(store, variants[0])
        if only is not None:
            return only
    if variants:
        raise NotFoundError(
            f"'{name}' has several variants in {store.address}: {', '.join(variants)}; name one"
        )
    hint = did_you_mean(name, names) if names else "there are none yet"
    raise NotFoundError(f"no study '{name}' in {store.address}; {hint}")


def study_names(store: Store) -> list[str]:
    """The names of all studies of ours, oldest first."""
    if not store.is_ours:
        return []
    with store.read() as connection:
        return list(
            connection.execute(
                select(studies.c.study_name).select_from(ours()).order_by(own_studies.c.created)
            ).scalars()
        )


def study_record(row: Row[Any]) -> StudyRecord:
    """A row of `ours()` as a record."""
    stored = row._mapping
    return StudyRecord(
        uuid=stored["uuid"],
        study_id=stored["study_id"],
        name=stored["study_name"],
        direction=stored["direction"],
        metric=stored["metric"],
        definition=json.loads(stored["definition"]),
        definition_hash=stored["definition_hash"],
        fingerprint=stored["fingerprint"],
        data_source=stored["data_source"],
        environment=json.loads(stored["environment"]),
        seed=stored["seed"],
        budget=stored["budget"],
        state=StudyState(stored["state"]),
        created=stored["created"],
        measured_importances=stored_importances(stored["importances"]),
        importances_at=stored["importances_at"],
        importances_trials=stored["importances_trials"],
        priority=stored["priority"],
        halted=stored["failures_in_a_row"] >= stored["stop_after_failures"],
        going_since=stored["going_since"],
        beside=stored["beside"],
        searched_budget=bool(stored["searched_budget"]),
        confirm=read_confirmation(stored["confirm"]),
        unconfirmed=stored["confirm"] == UNCONFIRMED,
    )


def set_confirmation(store: Store, study: StudyRecord, confirm: Confirmation | None) -> None:
    """Say what is to be confirmed once the budget is met; what was confirmed before stays.

    Raises:
        NotFoundError: the study is gone.
    """
    text = UNCONFIRMED if confirm is None else json.dumps(asdict(confirm))
    _change(store, study, {"confirm": text})


def set_priority(store: Store, study: StudyRecord, priority: int) -> None:
    """Change whose turn it is among studies that share workers.

    Raises:
        NotFoundError: the study is gone.
    """
    _change(store, study, {"priority": priority})


def set_state(store: Store, study: StudyRecord, state: StudyState) -> None:
    """Tell the study's workers to go on, pause or stop.

    Going on forgives failures in a row; after a stop, also trials that ended without improvement.

    Raises:
        NotFoundError: the study is gone.
    """
    if state is StudyState.ACTIVE:
        forgiven = {"state": state.value, "failures_in_a_row": 0}
        was_stopped = own_studies.c.state == StudyState.STOPPING.value
        _change(store, study, forgiven, stamp="going_since", where=was_stopped)
    else:
        _change(store, study, {"state": state.value})


def end_search(store: Store, study: StudyRecord) -> bool:
    """Let no more be searched: what was to be confirmed begins, else the study stops.

    Whether that was news: not of a study that was paused, stopped or deleted meanwhile.
    """
    own = own_studies.c
    active = (own.uuid == study.uuid) & (own.state == StudyState.ACTIVE.value)
    with store.write(durable=True) as connection:
        row = connection.execute(select(own.confirm).where(active).with_for_update()).first()
        values = {"state": StudyState.STOPPING.value}
        confirm = None if row is None else read_confirmation(row.confirm)
        if confirm is not None:
            if confirm.early:
                return False
            values = {"confirm": json.dumps(asdict(confirm) | {"early": True})}
        changed = connection.execute(update(own_studies).where(active).values(**values))
        return bool(changed.rowcount)


def save_importances(
    store: Store, study: StudyRecord, importances: Mapping[str, Importance], trials_used: int
) -> None:
    """Keep what mattered, in this order, with the time and the number of trials it is from.

    Raises:
        NotFoundError: the study is gone.
    """
    _change(
        store,
        study,
        {"importances": importances_text(importances), "importances_trials": trials_used},
        stamp="importances_at",
    )


def _change(
    store: Store,
    study: StudyRecord,
    values: dict[str, Any],
    *,
    stamp: str | None = None,
    where: ColumnElement[bool] | None = None,
) -> None:
    """Set columns of a study; `stamp` to the time, if need be only where something is so."""
    with store.write(durable=True) as connection:
        stamped: dict[str, Any] = {stamp: store.now(connection)} if stamp else {}
        if stamp is not None and where is not None:
            stamped[stamp] = case((where, stamped[stamp]), else_=own_studies.c[stamp])
        changed = connection.execute(
            update(own_studies).where(own_studies.c.uuid == study.uuid).values(**values, **stamped)
        ).rowcount
    if not changed:
        raise NotFoundError(f"study '{study.name}' was deleted from {store.address}")
