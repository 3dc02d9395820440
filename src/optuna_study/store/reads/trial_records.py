"""Trials as records, from the rows of Optuna's tables and ours, however many there are."""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, select

from optuna_study.store.pareto import with_second
from optuna_study.store.records import EndKind, TrialRecord, TrialState
from optuna_study.store.rows import external_parameter, stored_reason, utc_seconds
from optuna_study.store.schema import (
    EXCLUDED,
    VALUE,
    own_trials,
    trial_params,
    trial_user_attributes,
    trial_values,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import ColumnElement, Connection, Select

    from optuna_study.store.records import StudyRecord

_OUT, _OWN = trial_user_attributes.c, own_trials.c
_COLUMNS = (
    trials.c.trial_id,
    trials.c.number,
    trials.c.state,
    # Only trials of plain Optuna have no times of ours: the others' need not be parsed.
    case((_OWN.started.is_(None), trials.c.datetime_start)).label("datetime_start"),
    case((_OWN.completed.is_(None), trials.c.datetime_complete)).label("datetime_complete"),
    VALUE.label("value"),
    _OWN.fixed,
    _OWN.baseline,
    _OWN.baseline_group,
    _OWN.seed,
    _OWN.end_kind,
    _OWN.reason,
    _OWN.end_details,
    _OWN.traceback,
    _OWN.started,
    _OWN.completed,
    _OWN.worked,
    _OWN.epochs,
    _OWN.claims,
    _OWN.strikes,
    _OWN.owner,
    _OWN.lease_until,
    _OWN.checkpoint_epoch,
    _OWN.checkpoint_claim,
    _OWN.resumed_elsewhere,
    _OWN.confirms,
    _OUT.value_json.label("excluded"),
)
_STATES: Mapping[str, TrialState] = {each.value: each for each in TrialState}
_ENDS: Mapping[str | None, EndKind | None] = {None: None} | {each.value: each for each in EndKind}


@contextmanager
def collector_paused() -> Iterator[None]:
    """Rows by the thousand refer to nothing that refers to them: looking for circles is in vain.

    It would take a fifth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def select_trials(study: StudyRecord) -> Select[Any]:
    """What `to_record` needs of a study's trials; their parameters are rows of their own."""
    own = and_(_OWN.uuid == study.uuid, _OWN.number == trials.c.number)
    value = and_(trial_values.c.trial_id == trials.c.trial_id, trial_values.c.objective == 0)
    out = and_(_OUT.trial_id == trials.c.trial_id, _OUT.key == EXCLUDED)
    tables = trials.outerjoin(own_trials, own).outerjoin(trial_values, value)
    tables, second = with_second(study, tables.outerjoin(trial_user_attributes, out))
    return (
        select(*_COLUMNS, second.label("second_value"))
        .select_from(tables)
        .where(trials.c.study_id == study.study_id)
    )


def several(
    connection: Connection,
    study: StudyRecord,
    which: ColumnElement[bool],
    *,
    with_parameters: bool = True,
) -> list[TrialRecord]:
    """The trials of a study that a condition on Optuna's table names, by number."""
    with collector_paused():
        found = connection.execute(select_trials(study).where(which).order_by(trials.c.number))
        names = tuple(found.keys())
        rows = found.all()
        drawn: dict[int, dict[str, Any]] = {}
        if with_parameters:
            drawn = _parameters(connection, and_(trials.c.study_id == study.study_id, which))
        # A dictionary: a row's own look-up by name takes ten times as long.
        return [
            _to_record(dict(zip(names, row, strict=True)), drawn.get(row.trial_id, {}))
            for row in rows
        ]


def one(connection: Connection, query: Select[Any]) -> TrialRecord | None:
    """The first trial of a query by `select_trials`; None without one."""
    row = connection.execute(query).first()
    if row is None:
        return None
    drawn = _parameters(connection, trials.c.trial_id == row.trial_id)
    return _to_record(row._asdict(), drawn.get(row.trial_id, {}))


def _parameters(connection: Connection, which: ColumnElement[bool]) -> dict[int, dict[str, Any]]:
    """Parameters by trial id, in the order in which they were suggested."""
    table = trial_params
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    query = (
        select(
            table.c.trial_id, table.c.param_name, table.c.param_value, table.c.distribution_json
        )
        .join(trials, trials.c.trial_id == table.c.trial_id)
        .where(which)
        .order_by(table.c.param_id)
    )
    for trial_id, name, value, distribution in connection.execute(query).all():
        found[trial_id][name] = external_parameter(value, distribution)
    return found


def _to_record(row: Mapping[str, Any], parameters: dict[str, Any]) -> TrialRecord:
    return TrialRecord(
        trial_id=row["trial_id"],
        number=row["number"],
        state=_STATES[row["state"]],
        value=row["value"],
        second_value=row["second_value"],
        parameters=parameters,
        fixed=json.loads(row["fixed"]) if row["fixed"] else {},
        baseline=row["baseline"],
        group=row["baseline_group"],
        seed=row["seed"],
        end=_ENDS[row["end_kind"]],
        reason=stored_reason(row),
        traceback=row["traceback"],
        started=_moment(row, "started", "datetime_start"),
        completed=_moment(row, "completed", "datetime_complete"),
        worked=row["worked"] or 0.0,
        epochs=row["epochs"] or 0,
        claims=row["claims"] or 0,
        strikes=row["strikes"] or 0,
        owner=row["owner"],
        lease_until=row["lease_until"],
        checkpoint_epoch=row["checkpoint_epoch"] or 0,
        checkpoint_claim=row["checkpoint_claim"],
        resumed_elsewhere=bool(row["resumed_elsewhere"]),
        confirms=row["confirms"],
        excluded=None if row["excluded"] is None else str(json.loads(row["excluded"])),
    )


def _moment(row: Mapping[str, Any], ours: str, optunas: str) -> float | None:
    seconds: float | None = row[ours]
    return utc_seconds(row[optunas]) if seconds is None else seconds
