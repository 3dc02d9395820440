"""Studies that somebody pauses, stops or lets go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.definition.serialise import from_json
from optuna_study.store.reads.aggregates import confirming
from optuna_study.store.records import Confirmation, StudyState
from optuna_study.store.studies.studies import set_confirmation, set_state

if TYPE_CHECKING:
    from optuna_study.definition.model import Definition
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def change_state(store: Store, study: StudyRecord, state: StudyState) -> None:
    """Tell a study's workers to go on, pause or stop.

    One that goes on after its search ended early and was confirmed is confirmed again at its end,
    as `launch` would have it.

    Raises:
        NotFoundError: it is gone.
        StoreError: the store fails.
    """
    ended = study.state is StudyState.STOPPING and study.confirm is None
    if state is StudyState.ACTIVE and ended and confirming(store, study):
        set_confirmation(store, study, wanted_confirmation(from_json(study.definition)))
    set_state(store, study, state)


def wanted_confirmation(definition: Definition) -> Confirmation | None:
    """What a study's file asks to be confirmed, if anything."""
    wanted = definition.search.confirm
    return Confirmation(wanted.top, wanted.seeds) if wanted.top else None
