"""The second stage: which trials are of it, and that a claim gives them all their settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.config.settings import get_setting
from optuna_study.definition.read import parse_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.definition.serialise import to_json
from optuna_study.report.summary import held_up
from optuna_study.search.suggest import to_store
from optuna_study.space.space import build
from optuna_study.store.queue import queue
from optuna_study.store.queue.finetuning import begin_second_stage
from optuna_study.store.reads import reads
from optuna_study.store.records import (
    Claim,
    Confirmation,
    End,
    EndKind,
    NoTrialReason,
    StudyState,
)
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.studies import load_study, set_state

if TYPE_CHECKING:
    from optuna_study.definition.model import Definition
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

TEXT = """
[data]
name = "digits"
[model]
name = "mlp"
[train]
epochs = 20
[search]
trials = 6
[search.finetune]
trials = 3
top = 2
settings = {epochs = 4, schedule = "one_cycle"}
space = {lr = {low = 0.001, high = 0.1, log = true}, batch_size = [16, 32]}
[space]
lr = {low = 1e-4, high = 1.0, log = true}
dropout = {low = 0.0, high = 0.5, step = 0.1}
breakpoints = {most = 1, factor = {low = 0.1, high = 0.5}}
[[baselines]]
name = "own"
settings = {lr = 0.01}
"""
FIRST_STAGE = {1: (0.3, 0.6), 2: (0.4, 0.9), 3: (0.1, 0.8)}  # number: dropout, value


DRAWN = {"lr": 0.5, "dropout": 0.3, "breakpoints": 0}


@pytest.fixture
def definition() -> Definition:
    return resolve(parse_study_file(TEXT, "staged"), "full", threads=1)


def take(store: Store, study: StudyRecord) -> Claim:
    claim = queue.claim(store, study, "w1")
    assert isinstance(claim, Claim), claim
    return claim


def finish(store: Store, claim: Claim, value: float) -> None:
    queue.end(store, claim, End(EndKind.COMPLETED, "because", value))


@pytest.fixture
def study(store: Store, make_study: Any, planned: Any, definition: Definition) -> StudyRecord:
    """Of a baseline, three trials that have ended and three trials that are to come."""
    made: StudyRecord = make_study(
        store, planned=(planned("own"),), definition=to_json(definition), budget=6, beside=1
    )
    finish(store, take(store, made), 0.95)
    for number, (dropout, value) in FIRST_STAGE.items():
        claim = take(store, made)
        assert (claim.number, claim.proposed, claim.fixed) == (number, True, {})
        drawn = {"lr": 0.5, "dropout": dropout, "breakpoints": 1}
        drawn |= {"breakpoint_1_after": 10, "breakpoint_1_factor": 0.2}
        queue.write_parameters(store, claim, to_store(definition.space, drawn), {})
        finish(store, claim, value)
    return made


def test_the_last_trials_take_the_best_ones_settings_by_turns(
    store: Store, study: StudyRecord, definition: Definition
) -> None:
    seen = []
    for number in (4, 5, 6):
        claim = take(store, study)
        assert (claim.number, claim.searched, claim.proposed) == (number, True, False)
        config = build(definition.config, definition.space, {}, claim.fixed)
        assert (config.train.epochs, config.train.schedule) == (4, "one_cycle")
        assert config.train.breakpoints == ((2, 0.1),)  # the tenth of twenty epochs
        assert 0.001 <= config.train.lr <= 0.1  # the second stage's, not the first's
        record = reads.trial(store, study, number)
        assert (record.parameters, record.fixed) == ({}, json.loads(json.dumps(claim.fixed)))
        seen.append([get_setting(config, name) for name in ("dropout", "lr", "batch_size")])
        queue.release(store, claim, "stopped")
        again = take(store, study)
        assert (again.number, again.fixed, again.proposed) == (number, claim.fixed, False)
        finish(store, again, 0.97)
    assert [dropout for dropout, _, _ in seen] == [0.4, 0.1, 0.4]
    assert len({lr for _, lr, _ in seen}) == 3
    assert {size for _, _, size in seen} == {16, 32}
    assert queue.claim(store, study, "w1") is NoTrialReason.BUDGET_MET


def test_a_search_without_improvement_goes_on_with_them(
    store: Store, make_study: Any, planned: Any, definition: Definition
) -> None:
    study = make_study(
        store, planned=(planned("own"),), definition=to_json(definition), budget=20, beside=1
    )
    for value in (0.9, 0.8, 0.7):
        finish(store, take(store, study), value)
    running = take(store, study)  # a baseline and two others have ended, a third runs
    assert begin_second_stage(store, study)
    assert load_study(store, study.name).budget == 3 + 3
    assert not begin_second_stage(store, study), "it is no news"
    assert queue.claim(store, study, "w2") is NoTrialReason.WAITS_FOR_OTHERS
    finish(store, running, 0.7)
    claims = [take(store, study) for _ in range(3)]
    assert [bool(claim.fixed) for claim in (running, *claims)] == [False, True, True, True]
    assert not begin_second_stage(store, study)
    for claim in claims:
        finish(store, claim, 0.7)
    assert queue.claim(store, study, "w1") is NoTrialReason.BUDGET_MET
    set_budget(store, study, 20)
    set_state(store, study, StudyState.PAUSED)
    assert not begin_second_stage(store, study)


def test_it_begins_when_none_of_the_first_is_at_work_also_where_a_worker_dies(
    store: Store, make_study: Any, planned: Any, definition: Definition, clock: Any
) -> None:
    study = make_study(
        store, planned=(planned("own"),), definition=to_json(definition), budget=6, beside=1
    )
    baseline = take(store, study)
    first = [take(store, study) for _ in range(3)]
    for each in first[:2]:
        queue.write_parameters(store, each, to_store(definition.space, DRAWN), {})
        finish(store, each, 0.6)
    assert queue.claim(store, study, "w2") is NoTrialReason.WAITS_FOR_OTHERS
    said = held_up(study, reads.counts(store, study))
    assert said == "the second stage begins when 1 trial of the first has ended"
    clock.now += 61  # whoever held the baseline and the third other is lost
    again = [take(store, study), take(store, study)]
    assert [each.number for each in again] == [baseline.number, first[2].number]
    assert queue.claim(store, study, "w2") is NoTrialReason.WAITS_FOR_OTHERS
    finish(store, again[1], 0.9)
    assert held_up(study, reads.counts(store, study)) == "", "a baseline is of no stage"
    assert take(store, study).fixed["dropout"] == definition.config.model.dropout, "the best one's"


def test_trials_with_threads_of_their_own_begin_where_cores_are_left(
    store: Store, make_study: Any, definition: Definition
) -> None:
    text = TEXT.replace("{epochs = 4", "{threads = 2, epochs = 4")
    study = make_study(
        store,
        definition=to_json(resolve(parse_study_file(text, "staged"), "full", threads=1)),
        budget=8,
        confirm=Confirmation(2, 1),
    )

    def claim(worker: str, cores: int | None = 3) -> Claim | NoTrialReason:
        return queue.claim(store, study, worker, cores=cores)

    for value in (0.5, 0.6, 0.7, 0.8, 0.9):
        finish(store, take(store, study), value)
    first = claim("a-001")
    assert isinstance(first, Claim)
    assert claim("a-002") is NoTrialReason.WAITS_FOR_OTHERS
    said = held_up(study, reads.counts(store, study))
    assert said.startswith("the next begins where 2 cores are left and a worker is free")
    elsewhere = claim("b-001")
    assert isinstance(elsewhere, Claim)
    beside = claim("a-002", cores=4)
    assert isinstance(beside, Claim)
    queue.release(store, beside, "stopped")
    assert claim("a-002") is NoTrialReason.WAITS_FOR_OTHERS, "one that was given back, too"
    last = claim("a-002", cores=None)
    assert isinstance(last, Claim), "workers of several machines"
    for each in (first, elsewhere, last):
        finish(store, each, 0.95)
    run = claim("a-001")
    assert isinstance(run, Claim)
    assert (run.confirms, run.fixed["threads"]) == (first.number, 2)
    assert claim("a-002") is NoTrialReason.WAITS_FOR_OTHERS, "a run that confirms one, too"
    other = claim("a-002", cores=4)
    assert isinstance(other, Claim)
    assert other.confirms == elsewhere.number


def test_no_threads_are_one_for_each_core(
    store: Store, make_study: Any, definition: Definition
) -> None:
    text = TEXT.replace("{epochs = 4", "{threads = 0, epochs = 4")
    resolved = resolve(parse_study_file(text, "staged"), "full", threads=1)
    study = make_study(store, definition=to_json(resolved), budget=8)
    for value in (0.5, 0.6, 0.7, 0.8, 0.9):
        finish(store, take(store, study), value)
    assert isinstance(queue.claim(store, study, "a-001", cores=3), Claim)
    assert queue.claim(store, study, "a-002", cores=3) is NoTrialReason.WAITS_FOR_OTHERS
    said = held_up(study, reads.counts(store, study))
    assert said.startswith("the next begins where all cores are left")
    assert isinstance(queue.claim(store, study, "a-002", cores=1), Claim), "one each, as usual"


def test_they_are_confirmed_as_they_are_and_a_larger_budget_begins_with_the_first_stage(
    store: Store, make_study: Any, definition: Definition
) -> None:
    study = make_study(
        store,
        definition=to_json(definition),
        budget=2,
        beside=0,
        confirm=Confirmation(1, 1),
    )
    first = take(store, study)
    assert first.proposed  # half of two trials are of the first stage
    queue.end(store, first, End(EndKind.DIVERGED, "because", None))
    second = take(store, study)  # none of the first has completed: the study's own settings
    config = build(definition.config, definition.space, {}, second.fixed)
    assert config.model.dropout == definition.config.model.dropout
    finish(store, second, 0.7)
    run = take(store, study)
    assert (run.confirms, run.fixed, run.proposed) == (1, second.fixed, False)
    finish(store, run, 0.7)
    set_budget(store, study, 4)
    study = load_study(store, study.name)
    assert [take(store, study).proposed for _ in range(2)] == [False, False]
    set_budget(store, study, 9)
    assert take(store, load_study(store, study.name)).proposed
