"""A study's budget: how many trials are to end, and what was asked for before it was cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import case, delete, select, update

from optuna_study.store.queue.ownership import lock_study
from optuna_study.store.schema import ASKED_BUDGET_KEY, own_studies, study_system_attributes

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def set_budget(store: Store, study: StudyRecord, budget: int) -> None:
    """Change the number of trials that are to end in all.

    With more than there were, trials that ended without improvement are forgiven.

    Raises:
        NotFoundError: the study is gone.
    """
    own = own_studies.c
    with store.write(durable=True) as connection:
        lock_study(connection, study)
        since = case((own.budget < budget, store.now(connection)), else_=own.going_since)
        connection.execute(delete(study_system_attributes).where(_is_asked(study)))
        connection.execute(
            update(own_studies)
            .where(own.uuid == study.uuid)
            .values(budget=budget, going_since=since)
        )


def asked_budget(store: Store, study: StudyRecord) -> int | None:
    """The budget of a study before its second stage began early; None where it did not."""
    with store.read() as connection:
        stored = connection.execute(
            select(study_system_attributes.c.value_json).where(_is_asked(study))
        ).scalar()
    return None if stored is None else int(json.loads(stored))


def _is_asked(study: StudyRecord) -> ColumnElement[bool]:
    attribute = study_system_attributes.c
    return (attribute.study_id == study.study_id) & (attribute.key == ASKED_BUDGET_KEY)
