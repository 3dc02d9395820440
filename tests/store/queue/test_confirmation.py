"""Rounds of confirmation runs: planned once, on seeds that follow from the study alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from records import finish

from optuna_study.seeds import confirmation_seed, trial_seed
from optuna_study.store.queue import queue
from optuna_study.store.queue.confirmation import can_win
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.records import (
    Claim,
    Confirmation,
    EndKind,
    NoTrialReason,
    StudyState,
)
from optuna_study.store.studies import studies

if TYPE_CHECKING:
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

SIDES = {"side_counts": {"train": 744, "validation": 186, "test": 234}}


def take(store: Store, study: StudyRecord, owner: str = "w1") -> Claim:
    claim = queue.claim(store, study, owner)
    assert isinstance(claim, Claim), claim
    return claim


def searched(store: Store, make_study: Any, planned: Any, **changes: Any) -> StudyRecord:
    """A study whose five searched trials have .5 to .9 beside a baseline of .7."""
    settings = {"budget": 5, "beside": 1, "confirm": Confirmation(2, 2), "environment": SIDES}
    study: StudyRecord = make_study(store, planned=(planned("a"),), **(settings | changes))
    for value in (0.7, 0.5, 0.9, 0.6, 0.8, 0.55):
        finish(store, take(store, study), value)
    return study


def test_the_budget_counts_searched_trials_alone(
    store: Store, make_study: Any, planned: Any
) -> None:
    study = make_study(store, planned=(planned("a"), planned("b")), budget=3, beside=2)
    proposed = []
    for _ in range(5):
        claim = take(store, study)
        proposed.append(claim.proposed)
        finish(store, claim, 0.5)
    assert proposed == [False, False, True, True, True], "baselines are never pruned"
    assert queue.claim(store, study, "w1") is NoTrialReason.BUDGET_MET
    counts = reads.counts(store, study)
    assert (counts.ended, counts.searched, counts.baselines) == (5, 3, 2)


def test_rounds_give_each_finalist_and_the_baseline_the_same_fresh_seeds(
    store: Store, make_study: Any, planned: Any
) -> None:
    study = searched(store, make_study, planned)
    first = [take(store, study, f"w{place}") for place in range(3)]
    assert [claim.confirms for claim in first] == [2, 4, 0]
    assert queue.claim(store, study, "late") is NoTrialReason.BUDGET_TAKEN
    for claim in first:
        assert claim.seed == confirmation_seed(study.seed, 0)
        assert not claim.searched
        assert not claim.proposed, "runs of a confirmation are never pruned"
        told = reads.trial(store, study, claim.number)
        again = reads.trial(store, study, told.confirms or 0)
        assert (told.parameters, told.fixed) == (again.parameters, again.fixed)
    for claim in first:
        finish(store, claim, 0.95)
    second = [take(store, study) for _ in range(3)]
    assert {claim.seed for claim in second} == {confirmation_seed(study.seed, 1)}
    for claim in second:
        finish(store, claim, 0.95)
    assert queue.claim(store, study, "w1") is NoTrialReason.BUDGET_MET
    done = studies.load_study(store, study.name)
    assert (done.confirm, done.budget, done.total) == (None, 5, 12)
    assert done.is_done(reads.counts(store, done).ended)
    assert reads.counts(store, done).confirmations == 6
    # What the search found is what it was: nothing here is its best, or compared at a rung.
    best = reads.best(store, done)
    assert best is not None
    assert (best.number, [*reads.best_few(store, done, 3)]) == (2, [2, 4, 0])
    assert [row.best for row in reads.list_studies(store)] == [0.9]
    runs = aggregates.confirmation_runs(store, done)
    assert [run.confirms for run in runs] == [2, 4, 0] * 2
    assert len({trial_seed(study.seed, n) for n in range(12)} | {run.seed for run in runs}) == 14


def test_a_lost_worker_keeps_the_run_and_its_seed(
    store: Store, clock: Any, make_study: Any, planned: Any
) -> None:
    study = searched(store, make_study, planned)
    lost = take(store, study)
    clock.now += 1000
    again = take(store, study, "w2")
    assert (again.number, again.seed, again.confirms) == (lost.number, lost.seed, lost.confirms)
    assert again.resumed


def test_a_further_confirmation_adds_to_what_is_there(
    store: Store, make_study: Any, planned: Any
) -> None:
    study = searched(store, make_study, planned, confirm=Confirmation(1, 1))
    for _ in range(2):
        finish(store, take(store, study), 0.9)
    assert queue.claim(store, study, "w1") is NoTrialReason.BUDGET_MET
    studies.set_confirmation(store, study, Confirmation(2, 2))
    studies.set_state(store, study, StudyState.ACTIVE)
    seen = []
    while isinstance(claim := queue.claim(store, study, "w1"), Claim):
        seen.append((claim.confirms, claim.seed == confirmation_seed(study.seed, 0)))
        finish(store, claim, 0.9)
    assert sorted(seen, key=str) == sorted(
        [(2, False), (4, True), (0, False), (4, False)], key=str
    )


def test_one_that_cannot_win_any_more_gets_no_further_seed(
    store: Store, make_study: Any, planned: Any
) -> None:
    study = searched(store, make_study, planned, confirm=Confirmation(3, 2))
    values = {2: 0.9, 4: 0.6, 3: 0.88, 0: 0.2}
    for _ in range(4):
        claim = take(store, study)
        assert claim.confirms is not None
        finish(store, claim, values[claim.confirms])
    assert [take(store, study).confirms for _ in range(3)] == [2, 3, 0]


def test_of_a_front_all_but_what_diverged_get_all_seeds(store: Store, make_study: Any) -> None:
    both = {"search": {"second_metric": "parameters"}}
    study = make_study(store, definition=both, budget=4, confirm=Confirmation(3, 2))
    for value, second in ((0.9, 900.0), (0.6, 100.0), (0.85, 950.0), (0.7, 200.0)):
        finish(store, take(store, study), value, second=second)
    first = [take(store, study) for _ in range(3)]
    assert [claim.confirms for claim in first] == [0, 3, 1], "trial 2 is not of the front"
    finish(store, first[0], 0.9)
    finish(store, first[1], 0.7, EndKind.DIVERGED)
    finish(store, first[2], 0.6)
    assert [take(store, study).confirms for _ in range(2)] == [0, 1]
    assert queue.claim(store, study, "w1") is NoTrialReason.BUDGET_TAKEN


def test_a_search_that_is_ended_early_is_confirmed_then_stopped(
    store: Store, make_study: Any, planned: Any
) -> None:
    study = searched(store, make_study, planned, budget=50)
    last, given_back = take(store, study), take(store, study)
    queue.release(store, given_back, "stopped")
    assert studies.end_search(store, study)
    assert not studies.end_search(store, study)  # it was ended already
    again = take(store, study)
    assert again.number == given_back.number  # what was begun is ended first
    assert queue.claim(store, study, "late") is NoTrialReason.BUDGET_TAKEN
    for claim in (last, again):
        finish(store, claim, 0.5)
    for _ in range(2):
        seen = [take(store, study) for _ in range(3)]
        assert [claim.confirms for claim in seen] == [2, 4, 0]
        for claim in seen:
            finish(store, claim, 0.9)
    assert queue.claim(store, study, "w1") is NoTrialReason.STOPPING
    done = studies.load_study(store, study.name)
    assert (done.state, done.confirm, done.budget) == (StudyState.STOPPING, None, 50)
    counts = reads.counts(store, done)
    assert (counts.searched, counts.confirmations, counts.waiting) == (7, 6, 0)
    studies.set_state(store, study, StudyState.ACTIVE)
    assert take(store, study).searched  # it may go on


def test_without_a_confirmation_a_search_that_is_ended_stops(
    store: Store, make_study: Any, planned: Any
) -> None:
    study = searched(store, make_study, planned, budget=50, confirm=None)
    assert studies.end_search(store, study)
    assert queue.claim(store, study, "w1") is NoTrialReason.STOPPING
    assert not studies.end_search(store, study)


def test_nothing_is_confirmed_where_nothing_completed_or_none_is_asked(
    store: Store, make_study: Any
) -> None:
    study = make_study(store, budget=1, confirm=Confirmation(3, 3))
    finish(store, take(store, study), 0.5, EndKind.DIVERGED)
    assert queue.claim(store, study, "w1") is NoTrialReason.BUDGET_MET
    assert studies.load_study(store, study.name).confirm is None


@pytest.mark.parametrize(
    ("values", "direction", "pictures", "left"),
    [
        ({1: [0.9], 2: [0.89]}, "maximize", 100, {1, 2}),
        ({1: [0.9], 2: [0.6]}, "maximize", 100, {1}),
        ({1: [0.3], 2: [0.9]}, "minimize", None, {1, 2}),  # single losses tell nothing
        ({1: [0.3, 0.31], 2: [0.9, 0.91]}, "minimize", None, {1}),
        ({1: [0.9], 2: [math.inf]}, "maximize", 100, {1}),  # one that diverged
        ({1: [math.inf]}, "minimize", None, set()),
    ],
)
def test_who_can_still_win(
    values: dict[int, list[float]], direction: str, pictures: int | None, left: set[int]
) -> None:
    assert can_win(values, direction, pictures) == left
