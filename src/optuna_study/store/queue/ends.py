"""How a trial leaves its worker: ended, or waiting again.

Callers hold the study's lock and have checked the token.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, exists, select, update

from optuna_study.config.reasons import Reused, WorkersLost
from optuna_study.store.records import End, EndKind, TrialState
from optuna_study.store.rows import (
    last_report,
    reason_columns,
    storable,
    strict_json,
    utc,
    write_attributes,
    write_value,
)
from optuna_study.store.schema import (
    DASHBOARD_CONSTRAINTS_KEY,
    ENDED_BY_KEY,
    INFEASIBLE_KEY,
    own_studies,
    own_trials,
    study_directions,
    trial_system_attributes,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from sqlalchemy import BindParameter, Connection, Row

    from optuna_study.store.records import Claim, StudyRecord

    Lost: TypeAlias = Callable[[Row[Any]], bool]

MOST_STRIKES = 3


def end_trial(
    connection: Connection,
    uuid: str,
    number: int,
    trial_id: int,
    end: End,
    now: float,
    *,
    system: Mapping[str, Any] | None = None,
) -> None:
    """Write an end: value, attributes, constraint, state, times, the failures in a row.

    `system` are attributes of Optuna's own kind beside those.
    """
    value = end.value if end.kind is EndKind.COMPLETED else None
    if end.kind.state is TrialState.PRUNED and _has_one_objective(connection, trial_id):
        value = last_report(connection, trial_id)
    if value is not None and not math.isnan(value):
        write_value(connection, trial_id, value)
        if end.second_value is not None:
            write_value(connection, trial_id, end.second_value, objective=1)
    attributes = {"end": end.kind.value, "reason": str(end.reason), **end.attributes}
    write_attributes(connection, trial_id, attributes)
    own = dict(system or {})
    if end.kind.infeasible:
        own |= {INFEASIBLE_KEY: 1.0, DASHBOARD_CONSTRAINTS_KEY: [1.0]}
    write_attributes(connection, trial_id, own, system=True)
    ended = {"of_trial": trial_id, "new_state": end.kind.state.value, "new_completed": utc(now)}
    connection.execute(_END, ended)
    noted = {
        "end_kind": end.kind.value,
        **reason_columns(end.reason),
        "traceback": None if end.traceback is None else storable(end.traceback),
        "completed": now,
        "touched": now,
    }
    new = {f"new_{name}": value for name, value in noted.items()}
    connection.execute(_END_OWN, {"of_uuid": uuid, "of_number": number, **new})
    if isinstance(end.reason, Reused):  # nothing was trained, which says nothing of the machine
        return
    connection.execute(_COUNT_FAILURE[end.kind is EndKind.FAILED], {"of_uuid": uuid})


def _has_one_objective(connection: Connection, trial_id: int) -> bool:
    """Whether a trial's study has one; with several Optuna knows no value of a pruned trial."""
    return connection.execute(_FURTHER_OBJECTIVES, {"of_trial": trial_id}).first() is None


_OF_TRIAL: BindParameter[int] = bindparam("of_trial")
_OF_UUID: BindParameter[str] = bindparam("of_uuid")
_END = (
    update(trials)
    .where(trials.c.trial_id == _OF_TRIAL)
    .values(state=bindparam("new_state"), datetime_complete=bindparam("new_completed"))
)
_NOTED = ("end_kind", "reason", "end_details", "traceback", "completed", "touched")
_END_OWN = (
    update(own_trials)
    .where(own_trials.c.uuid == _OF_UUID, own_trials.c.number == bindparam("of_number"))
    .values(
        {"token": None, "owner": None, "lease_until": None}
        | {name: bindparam(f"new_{name}") for name in _NOTED}
    )
)
_COUNT_FAILURE = {
    failed: update(own_studies)
    .where(own_studies.c.uuid == _OF_UUID)
    .values(failures_in_a_row=own_studies.c.failures_in_a_row + 1 if failed else 0)
    for failed in (False, True)
}
_FURTHER_OBJECTIVES = select(study_directions.c.objective).where(
    study_directions.c.study_id
    == select(trials.c.study_id).where(trials.c.trial_id == _OF_TRIAL).scalar_subquery(),
    study_directions.c.objective > 0,
)


def set_waiting(connection: Connection, trial_id: int) -> None:
    """Make a running trial wait; one that plain Optuna has ended stays so."""
    connection.execute(
        update(trials)
        .where(trials.c.trial_id == trial_id, trials.c.state == TrialState.RUNNING.value)
        .values(state=TrialState.WAITING.value)
    )


def is_ended_by(connection: Connection, claim: Claim, end: End) -> bool:
    """Whether this end was written with this claim before, though its owner never heard so."""
    attribute = trial_system_attributes
    return (
        connection.execute(
            select(own_trials.c.number).where(
                own_trials.c.uuid == claim.study_uuid,
                own_trials.c.number == claim.number,
                own_trials.c.end_kind == end.kind.value,
                *(own_trials.c[name] == text for name, text in reason_columns(end.reason).items()),
                exists().where(
                    attribute.c.trial_id == claim.trial_id,
                    attribute.c.key == ENDED_BY_KEY,
                    attribute.c.value_json == strict_json(claim.token),
                ),
            )
        ).first()
        is not None
    )


def release_lost(
    connection: Connection, study: StudyRecord, lost: Lost, now: float, *, strike: bool = True
) -> list[int]:
    """Release every held trial that `lost` says is lost; their numbers.

    `strike` says that the trial may be what its worker died of.
    """
    dead = [row for row in _held(connection, study) if lost(row)]
    for row in dead:
        _release(connection, row, now, strike=strike)
    return [row.number for row in dead]


def end_lost(
    connection: Connection, study: StudyRecord, lost: Lost, end: End, now: float
) -> list[int]:
    """End every held trial that `lost` says is lost; their numbers."""
    dead = [row for row in _held(connection, study) if lost(row) and _runs(connection, row)]
    for row in dead:
        end_trial(connection, row.uuid, row.number, row.trial_id, end, now)
    return [row.number for row in dead]


def _held(connection: Connection, study: StudyRecord) -> Sequence[Row[Any]]:
    return connection.execute(_HELD, {"of_uuid": study.uuid}).all()


_HELD = (
    select(own_trials)
    .where(own_trials.c.uuid == _OF_UUID, own_trials.c.token.is_not(None))
    .order_by(own_trials.c.number)
    .with_for_update()  # else a lease renewed just now would be overrun
)


def _runs(connection: Connection, row: Row[Any]) -> bool:
    """Whether a held trial still runs: plain Optuna, which asks nobody, may have ended it."""
    state = connection.execute(
        select(trials.c.state).where(trials.c.trial_id == row.trial_id)
    ).scalar()
    return state == TrialState.RUNNING


def _release(connection: Connection, row: Row[Any], now: float, *, strike: bool) -> None:
    """Make a dead worker's trial wait again, or end it at its third strike."""
    strikes = 0 if row.progressed else row.strikes + strike
    values: dict[str, Any] = {"token": None, "owner": None, "lease_until": None}
    connection.execute(
        update(own_trials)
        .where(own_trials.c.uuid == row.uuid, own_trials.c.number == row.number)
        .values(strikes=strikes, reason=f"its worker {row.owner} was lost", touched=now, **values)
    )
    if strikes < MOST_STRIKES:
        set_waiting(connection, row.trial_id)
        return
    if _runs(connection, row):
        end = End(EndKind.FAILED, WorkersLost(MOST_STRIKES, row.owner))
        end_trial(connection, row.uuid, row.number, row.trial_id, end, now)
