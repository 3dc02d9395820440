"""What `resume` lets go on ends as after `launch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from records import finish

from optuna_study.launch.change_state import change_state
from optuna_study.store.queue import queue
from optuna_study.store.reads import aggregates
from optuna_study.store.records import (
    Claim,
    Confirmation,
    NoTrialReason,
    StudyState,
)
from optuna_study.store.studies.studies import load_study, set_confirmation

if TYPE_CHECKING:
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def work(store: Store, study: StudyRecord) -> NoTrialReason:
    """End trials until there is none to be had."""
    while isinstance(claim := queue.claim(store, study, "one"), Claim):
        finish(store, claim, claim.number / 100)
    return claim


def test_a_search_confirmed_early_is_confirmed_again_at_its_end(stored_study: Any) -> None:
    store, study = stored_study.store, stored_study.study
    for value in (0.2, 0.3, 0.5):
        stored_study.run([value])
    set_confirmation(store, study, Confirmation(1, 1, early=True))
    assert work(store, study) is NoTrialReason.STOPPING
    early = aggregates.confirming(store, study)
    assert set(early.values()) == {1, 2}  # the best baseline and the only searched trial
    ended = load_study(store, study.name)
    for state in (StudyState.PAUSED, StudyState.STOPPING, StudyState.ACTIVE):
        change_state(store, ended, state)
    assert load_study(store, study.name).confirm == Confirmation(3, 3)  # as the file has it
    assert work(store, study) is NoTrialReason.BUDGET_MET
    assert len(set(aggregates.confirming(store, study).values())) == 4


def test_a_study_that_was_to_confirm_nothing_still_does_not(stored_study: Any) -> None:
    store, study = stored_study.store, stored_study.study
    change_state(store, study, StudyState.STOPPING)
    change_state(store, load_study(store, study.name), StudyState.ACTIVE)
    assert load_study(store, study.name).confirm is None
    assert work(store, study) is NoTrialReason.BUDGET_MET
