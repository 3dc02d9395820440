"""Studies that somebody pauses, stops or lets go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.definition.serialise import from_json
from optuna_study.store.reads import reads
from optuna_study.store.reads.aggregates import confirming
from optuna_study.store.records import Confirmation, StudyState
from optuna_study.store.studies.budget import asked_budget, set_budget
from optuna_study.store.studies.studies import set_confirmation, set_state

if TYPE_CHECKING:
    from optuna_study.definition.model import Definition
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def change_state(store: Store, study: StudyRecord, state: StudyState) -> None:
    """Tell a study's workers to go on, pause or stop.

    One that goes on after its search ended early and was confirmed is confirmed again at its end,
    as `launch` would have it; one whose second stage began early, and has ended, goes on with the
    budget that it was to have.

    Raises:
        NotFoundError: it is gone.
        StoreError: the store fails.
    """
    if state is StudyState.ACTIVE:
        asked = budget_to_go_on(store, study)
        if asked is not None:
            set_budget(store, study, asked)
        ended = study.state is StudyState.STOPPING or asked is not None
        if ended and study.confirm is None and is_confirmed_again(store, study):
            set_confirmation(store, study, wanted_confirmation(from_json(study.definition)))
    set_state(store, study, state)


def budget_to_go_on(store: Store, study: StudyRecord) -> int | None:
    """The budget that a search was to have that ended with an early second stage; else None."""
    asked = asked_budget(store, study)
    if asked is None or not study.is_done(reads.counts(store, study).ended):
        return None
    return asked


def is_confirmed_again(store: Store, study: StudyRecord) -> bool:
    """Whether a search that goes on is confirmed at its end, as the last `launch` had it."""
    if study.confirm is not None:
        return study.confirm.again
    return not study.unconfirmed and bool(confirming(store, study))


def wanted_confirmation(definition: Definition) -> Confirmation | None:
    """What a study's file asks to be confirmed, if anything."""
    wanted = definition.search.confirm
    return Confirmation(wanted.top, wanted.seeds) if wanted.top else None
