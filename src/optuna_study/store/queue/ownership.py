"""Who owns a trial: the study's lock, the token that a claim gives, the check of it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ClauseElement, bindparam, exists, func, insert, select, update

from optuna_study.errors import NotFoundError, StaleClaimError
from optuna_study.seeds import trial_seed
from optuna_study.store.records import Claim, TrialState
from optuna_study.store.rows import utc
from optuna_study.store.schema import (
    UUID_KEY,
    own_studies,
    own_trials,
    studies,
    study_system_attributes,
    trials,
)

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Connection, Row, Update

    from optuna_study.store.records import StudyRecord


def lock(connection: Connection, study_id: int) -> None:
    """Keep other claims, ends and gifts back out of this study until the transaction ends.

    Ends take it like claims do: two transactions that each hold one of its rows would wait for
    each other.
    """
    if connection.dialect.name != "sqlite":  # there the whole transaction is the lock
        connection.execute(
            select(studies.c.study_id).where(studies.c.study_id == study_id).with_for_update()
        )


def lock_study(connection: Connection, study: StudyRecord) -> Row[Any]:
    """Lock a study and read what its workers are told.

    Raises:
        NotFoundError: the study is gone.
    """
    lock(connection, study.study_id)
    named = {"of_uuid": study.uuid, "of_id": study.study_id, "of_study": json.dumps(study.uuid)}
    row = connection.execute(_SETTINGS, named).first()
    if row is None:
        raise NotFoundError(f"study '{study.name}' was deleted")
    return row


OF_UUID: BindParameter[str] = bindparam("of_uuid")
OF_NUMBER: BindParameter[int] = bindparam("of_number")
"""Whose row a statement is about. Statements of a trial's usual way are built once: to build one
takes twenty times as long as SQLite to run it."""
_UUID = study_system_attributes.c
IS_HELD = (
    (own_trials.c.uuid == OF_UUID)
    & (own_trials.c.number == OF_NUMBER)
    & (own_trials.c.token == bindparam("of_token"))
    & exists().where(
        trials.c.trial_id == bindparam("of_trial"),
        trials.c.state == TrialState.RUNNING.value,
        _UUID.study_id == trials.c.study_id,
        _UUID.key == UUID_KEY,
        _UUID.value_json == bindparam("of_study"),
    )
)
"""Whether a claim stands: its token, and a trial of this very study that still runs.

The study's UUID is part of it, since SQLite may have given a deleted study's ids to another.
"""


def held_by(claim: Claim) -> dict[str, Any]:
    """The parameters of IS_HELD."""
    return {
        "of_uuid": claim.study_uuid,
        "of_number": claim.number,
        "of_token": claim.token,
        "of_trial": claim.trial_id,
        "of_study": json.dumps(claim.study_uuid),
    }


def update_if_owner(connection: Connection, claim: Claim, **values: Any) -> None:
    """Change our row of a trial while the claim stands; an owner's transaction begins with it."""
    if any(isinstance(value, ClauseElement) for value in values.values()):
        execute_if_owner(connection, claim, update(own_trials).where(IS_HELD).values(**values))
        return
    new = {f"new_{name}": value for name, value in values.items()}
    execute_if_owner(connection, claim, _setting(tuple(values)), **new)


def execute_if_owner(
    connection: Connection, claim: Claim, statement: Update, **parameters: Any
) -> None:
    """Execute an update of our row of a trial where IS_HELD.

    Raises:
        StaleClaimError: the trial is no longer the caller's.
    """
    changed = connection.execute(statement, held_by(claim) | parameters)
    if changed.rowcount != 1:
        raise StaleClaimError(
            f"trial {claim.number} is no longer this worker's; what it found is dropped"
        )


@lru_cache(maxsize=64)
def _setting(names: tuple[str, ...]) -> Update:
    """The update of some columns where IS_HELD, to values given as `new_` and a column's name."""
    return update(own_trials).where(IS_HELD).values({n: bindparam(f"new_{n}") for n in names})


def find_held(
    connection: Connection, study: StudyRecord, token: str, lease_until: float
) -> Claim | None:
    """What a claim with this token took, whose answer its owner never got."""
    renewed = {"of_uuid": study.uuid, "of_token": token, "until": lease_until}
    number = connection.execute(_RENEW_HELD, renewed).scalar()
    return None if number is None else read_claim(connection, study, number)


def start_waiting(
    connection: Connection, settings: Row[Any], study_id: int, number: int, now: float
) -> int:
    """Let a waiting trial run; its id."""
    started = func.coalesce(trials.c.datetime_start, utc(now))
    return int(
        connection.execute(
            update(trials)
            .where(
                trials.c.study_id == study_id,
                trials.c.trial_id > settings.settled_id,
                trials.c.number == number,
                trials.c.state == TrialState.WAITING.value,
            )
            .values(state=TrialState.RUNNING.value, datetime_start=started)
            .returning(trials.c.trial_id)
        ).scalar_one()
    )


def hold(
    connection: Connection,
    study: StudyRecord,
    number: int,
    trial_id: int,
    *,
    token: str,
    owner: str,
    now: float,
    lease_until: float,
) -> None:
    """Give a trial its owner, whose token it carries from now on."""
    connection.execute(_NOTE_CLAIM, {"of_uuid": study.uuid, "now": now})
    seed = trial_seed(study.seed, number)
    held = {"token": token, "owner": owner, "lease_until": lease_until, "touched": now}
    given = {f"new_{name}": value for name, value in held.items()}
    which = {"of_uuid": study.uuid, "of_number": number}
    if connection.execute(_HOLD, {**which, **given, "now": now, "new_seed": seed}).rowcount:
        return
    key = {"uuid": study.uuid, "number": number, "trial_id": trial_id}
    first = {"claims": 1, "progressed": False, "started": now, "seed": seed}
    connection.execute(_INSERT_HELD, {**key, **held, **first})


def read_claim(connection: Connection, study: StudyRecord, number: int) -> Claim:
    """The claim that holds a trial."""
    row = connection.execute(_OWN_TRIAL, {"of_uuid": study.uuid, "of_number": number}).one()
    return Claim(
        study_uuid=study.uuid,
        study_id=study.study_id,
        trial_id=row.trial_id,
        number=number,
        token=row.token,
        baseline=row.baseline,
        fixed=json.loads(row.fixed) if row.fixed else {},
        seed=row.seed,
        checkpoint_epoch=row.checkpoint_epoch,
        ordinal=row.claims,
        checkpoint_claim=row.checkpoint_claim,
        confirms=row.confirms,
        retried=row.retried,
    )


_SETTINGS = select(own_studies).where(
    own_studies.c.uuid == OF_UUID,
    exists().where(
        _UUID.study_id == bindparam("of_id"),
        _UUID.key == UUID_KEY,
        _UUID.value_json == bindparam("of_study"),
    ),
)
_IS_TRIAL = (own_trials.c.uuid == OF_UUID) & (own_trials.c.number == OF_NUMBER)
_OWN_TRIAL = select(own_trials).where(_IS_TRIAL)
_RENEW_HELD = (
    update(own_trials)
    .where(own_trials.c.uuid == OF_UUID, own_trials.c.token == bindparam("of_token"))
    .values(lease_until=bindparam("until"))
    .returning(own_trials.c.number)
)
_NOTE_CLAIM = (
    update(own_studies).where(own_studies.c.uuid == OF_UUID).values(claimed=bindparam("now"))
)
_OWN = own_trials.c
_HOLD = (
    update(own_trials)
    .where(_IS_TRIAL)
    .values(
        token=bindparam("new_token"),
        owner=bindparam("new_owner"),
        lease_until=bindparam("new_lease_until"),
        touched=bindparam("new_touched"),
        claims=own_trials.c.claims + 1,
        progressed=False,
        started=func.coalesce(_OWN.started, bindparam("now", type_=_OWN.started.type)),
        seed=func.coalesce(_OWN.seed, bindparam("new_seed", type_=_OWN.seed.type)),
    )
)
_INSERT_HELD = insert(own_trials)
