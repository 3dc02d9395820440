"""Who owns a trial: the study's lock, the token that a claim gives, the check of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, select, update

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
    from sqlalchemy import ColumnElement, Connection, Row

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
    attribute = study_system_attributes
    row = connection.execute(
        select(own_studies).where(
            own_studies.c.uuid == study.uuid,
            exists().where(
                attribute.c.study_id == study.study_id,
                attribute.c.key == UUID_KEY,
                attribute.c.value_json == json.dumps(study.uuid),
            ),
        )
    ).first()
    if row is None:
        raise NotFoundError(f"study '{study.name}' was deleted")
    return row


def is_held(claim: Claim) -> ColumnElement[bool]:
    """Whether the claim stands: its token, and a trial of this very study that still runs.

    The study's UUID is part of it, since SQLite may have given a deleted study's ids to another.
    """
    attribute = study_system_attributes
    return (
        (own_trials.c.uuid == claim.study_uuid)
        & (own_trials.c.number == claim.number)
        & (own_trials.c.token == claim.token)
        & exists().where(
            trials.c.trial_id == claim.trial_id,
            trials.c.state == TrialState.RUNNING.value,
            attribute.c.study_id == trials.c.study_id,
            attribute.c.key == UUID_KEY,
            attribute.c.value_json == json.dumps(claim.study_uuid),
        )
    )


def update_if_owner(connection: Connection, claim: Claim, **values: Any) -> None:
    """Change our row of a trial while the claim stands; an owner's transaction begins with it."""
    changed = connection.execute(update(own_trials).where(is_held(claim)).values(**values))
    if changed.rowcount != 1:
        raise StaleClaimError(
            f"trial {claim.number} is no longer this worker's; what it found is dropped"
        )


def find_held(
    connection: Connection, study: StudyRecord, token: str, lease_until: float
) -> Claim | None:
    """What a claim with this token took, whose answer its owner never got."""
    number = connection.execute(
        update(own_trials)
        .where(own_trials.c.uuid == study.uuid, own_trials.c.token == token)
        .values(lease_until=lease_until)
        .returning(own_trials.c.number)
    ).scalar()
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
    connection.execute(
        update(own_studies).where(own_studies.c.uuid == study.uuid).values(claimed=now)
    )
    is_it = (own_trials.c.uuid == study.uuid) & (own_trials.c.number == number)
    held = {
        "token": token,
        "owner": owner,
        "lease_until": lease_until,
        "claims": own_trials.c.claims + 1,
        "progressed": False,
        "started": func.coalesce(own_trials.c.started, now),
        "seed": func.coalesce(own_trials.c.seed, trial_seed(study.seed, number)),
        "touched": now,
    }
    if connection.execute(update(own_trials).where(is_it).values(**held)).rowcount:
        return
    key = {"uuid": study.uuid, "number": number, "trial_id": trial_id}
    first = {"claims": 1, "started": now, "seed": trial_seed(study.seed, number)}
    connection.execute(own_trials.insert().values(**key, **held | first))


def read_claim(connection: Connection, study: StudyRecord, number: int) -> Claim:
    """The claim that holds a trial."""
    row = connection.execute(
        select(own_trials).where(own_trials.c.uuid == study.uuid, own_trials.c.number == number)
    ).one()
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
