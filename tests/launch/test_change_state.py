"""What `resume` lets go on ends as after `launch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from records import finish

from optuna_study.launch.change_state import budget_to_go_on, change_state, is_confirmed_again
from optuna_study.store.queue import queue
from optuna_study.store.queue.finetuning import begin_second_stage
from optuna_study.store.reads import aggregates
from optuna_study.store.records import (
    Claim,
    Confirmation,
    NoTrialReason,
    StudyState,
)
from optuna_study.store.studies.studies import load_study, set_confirmation, set_state

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


@pytest.mark.parametrize("before", ["nothing was asked for", "it was, and --no-confirm since"])
def test_a_study_that_was_to_confirm_nothing_still_does_not(
    stored_study: Any, before: str
) -> None:
    store, study = stored_study.store, stored_study.study
    for value in (0.2, 0.3, 0.5):
        stored_study.run([value])
    if before != "nothing was asked for":
        set_confirmation(store, study, Confirmation(1, 1, early=True))
        assert work(store, study) is NoTrialReason.STOPPING
        set_confirmation(store, study, None)
    for _ in range(2):  # by hand, and once more
        now = load_study(store, study.name)
        again = is_confirmed_again(store, now)
        assert not again
        set_confirmation(store, study, Confirmation(1, 2, early=True, again=again))
        set_state(store, study, StudyState.ACTIVE)
        assert work(store, study) is NoTrialReason.STOPPING
    confirmed = aggregates.confirming(store, study)
    assert confirmed
    change_state(store, load_study(store, study.name), StudyState.ACTIVE)
    assert load_study(store, study.name).confirm is None
    assert work(store, study) is NoTrialReason.BUDGET_MET
    assert aggregates.confirming(store, study) == confirmed


def test_after_an_early_second_stage_the_search_goes_on_to_the_budget_asked_for(
    store_file: Any, study_file: str
) -> None:
    stage = "[search.finetune]\ntrials = 1\nsettings = {epochs = 2}\n\n[space]"
    made = store_file(study_file.replace("[space]", stage))
    store, study = made.store, made.study
    drawn = {"activation": "tanh", "lr": 0.003, "dropout": 0.25}
    for value in (0.2, 0.3):  # the baselines
        made.run([value])
    made.run([0.5], parameters=drawn)
    assert begin_second_stage(store, study)
    cut = load_study(store, study.name)
    assert (cut.budget, budget_to_go_on(store, cut)) == (4, None), "it has not ended"
    change_state(store, cut, StudyState.ACTIVE)
    assert load_study(store, study.name).budget == 4
    assert made.run([0.6]) == 3
    ended = load_study(store, study.name)
    assert ended.going_since is None
    change_state(store, ended, StudyState.PAUSED)
    assert load_study(store, study.name).budget == 4
    change_state(store, ended, StudyState.ACTIVE)
    more = load_study(store, study.name)
    assert (more.budget, budget_to_go_on(store, more)) == (6, None)
    assert more.going_since is not None, "what ended before counts no more as without improvement"
    assert made.run([0.4], parameters=drawn) == 4
    assert made.run([0.6]) == 5
    assert aggregates.finetuned(store, study) == {3: 2, 5: 4}  # by turns
