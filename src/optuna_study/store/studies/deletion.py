"""Studies taken out of a store, whoever deletes them: we, Optuna or the dashboard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from optuna_study.store.queue.ownership import lock
from optuna_study.store.schema import (
    TRIAL_TABLES,
    UUID_KEY,
    own_epochs,
    own_studies,
    own_trials,
    quoted,
    studies,
    study_directions,
    study_system_attributes,
    study_user_attributes,
    trials,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def delete_study(store: Store, study: StudyRecord) -> None:
    """Remove a study's rows, Optuna's and ours; its files are the caller's.

    Its workers may be writing: they are locked out in the order in which they lock (the study, a
    trial of ours, Optuna's), so that nobody waits in a circle, and find their claims gone.

    Raises:
        StoreError: the store fails.
    """
    attribute = study_system_attributes
    with store.write(durable=True) as connection:
        lock(connection, study.study_id)
        connection.execute(delete(own_trials).where(own_trials.c.uuid == study.uuid))
        same = connection.execute(
            select(attribute.c.study_id).where(
                attribute.c.study_id == study.study_id,
                attribute.c.key == UUID_KEY,
                attribute.c.value_json == json.dumps(study.uuid),
            )
        ).scalar()
        if same is not None:  # else it is gone already, and its id may be another's
            its_trials = select(trials.c.trial_id).where(trials.c.study_id == study.study_id)
            connection.execute(its_trials.with_for_update())
            for table in TRIAL_TABLES:
                connection.execute(delete(table).where(table.c.trial_id.in_(its_trials)))
            for table in (trials, study_directions, study_user_attributes, attribute, studies):
                connection.execute(delete(table).where(table.c.study_id == study.study_id))
        for table in (own_epochs, own_studies):
            connection.execute(delete(table).where(table.c.uuid == study.uuid))


def collect_orphans(connection: Connection) -> None:
    """Remove our rows of studies that Optuna or the dashboard has deleted."""
    attribute = study_system_attributes
    alive = select(attribute.c.value_json).where(attribute.c.key == UUID_KEY)
    gone = list(
        connection.execute(
            select(own_studies.c.uuid).where(quoted(own_studies.c.uuid).not_in(alive))
        ).scalars()
    )
    for table in (own_epochs, own_trials, own_studies):
        connection.execute(delete(table).where(table.c.uuid.in_(gone)))
