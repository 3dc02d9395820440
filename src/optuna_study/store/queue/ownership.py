"""What a write of a trial's owner passes: the study's lock, the check of its token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, select, update

from optuna_study.errors import NotFoundError, StaleClaimError
from optuna_study.store.records import TrialState
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

    from optuna_study.store.records import Claim, StudyRecord


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
