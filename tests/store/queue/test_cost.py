"""The queue costs as much after thousands of trials as at first, counted in SQLite's own steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
from make_store import fill
from sqlalchemy import event

from optuna_study.errors import NotFoundError
from optuna_study.store.engine import optuna_bridge
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import aggregates
from optuna_study.store.records import Claim, End, EndKind
from optuna_study.store.studies.deletion import delete_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, StudyRecord

FEW, MANY = 2 * aggregates.MOST_VALUES, 20 * aggregates.MOST_VALUES


@pytest.fixture
def steps(sqlite_store: Store) -> Iterator[Callable[[], int]]:
    """How many steps SQLite's machine has made since the last call."""
    made = 0

    def step() -> int:
        nonlocal made
        made += 1
        return 0

    def watch(connection: Any, *_: object) -> None:
        connection.set_progress_handler(step, 1)

    def since() -> int:
        nonlocal made
        found, made = made, 0
        return found

    for engine in (sqlite_store.engine, sqlite_store.reader):
        event.listen(engine, "checkout", watch)
    yield since
    for engine in (sqlite_store.engine, sqlite_store.reader):
        event.remove(engine, "checkout", watch)


def of_one_trial(
    store: Store, study: StudyRecord, epoch: Callable[..., EpochRecord], steps: Callable[[], int]
) -> dict[str, int]:
    """The steps of each of a trial's operations."""
    found = {}
    steps()
    claim = queue.claim(store, study, "w1")
    found["claim"] = steps()
    assert isinstance(claim, Claim)
    queue.report(store, claim, [epoch(1, 0.3), epoch(2, 0.5)])
    found["report"] = steps()
    assert len(aggregates.values_at(store, study, 2, but=claim.number)) == aggregates.MOST_VALUES
    found["prune decision"] = steps()
    queue.release(store, claim, "stopped")
    found["give back"] = steps()
    again = queue.claim(store, study, "w2")
    found["claim of a returned trial"] = steps()
    assert isinstance(again, Claim)
    assert again.number == claim.number
    queue.end(store, again, End(EndKind.COMPLETED, "done", 0.5), [epoch(3, 0.5)])
    found["end"] = steps()
    return found


@pytest.mark.slow
def test_each_operation_costs_the_same_after_ten_times_as_many_trials(
    sqlite_store: Store,
    make_study: Any,
    epoch: Callable[..., EpochRecord],
    steps: Callable[[], int],
) -> None:
    found = []
    first_id = 1
    for count in (FEW, MANY):
        study = make_study(sqlite_store, name=f"with {count}", budget=count + 2)
        fill(sqlite_store, study, count, 2, first_id)
        of_one_trial(sqlite_store, study, epoch, steps)  # counts what has ended, once
        found.append(of_one_trial(sqlite_store, study, epoch, steps))
        first_id += count + 2
    few, many = found
    assert min(few.values()) > 20
    assert {name: many[name] / few[name] for name in few} == pytest.approx(
        dict.fromkeys(few, 1.0), abs=0.2
    )


@pytest.mark.slow
def test_what_optuna_has_read_before_a_claim_is_not_read_under_its_lease(
    sqlite_store: Store, make_study: Any, steps: Callable[[], int]
) -> None:
    study = make_study(sqlite_store, budget=MANY + 1)
    fill(sqlite_store, study, MANY, 2)
    storage = optuna_storage(sqlite_store)
    steps()
    optuna_bridge.read_trials(sqlite_store, storage, study)
    before = steps()
    claim = queue.claim(sqlite_store, study, "w1")
    assert isinstance(claim, Claim)
    steps()
    optuna_bridge.Draft(storage, study, optuna.samplers.RandomSampler(seed=0), claim)
    assert 0 < steps() < before / 100


def test_a_study_deleted_before_it_is_read_is_not_found(
    sqlite_store: Store, make_study: Any
) -> None:
    study = make_study(sqlite_store)
    storage = optuna_storage(sqlite_store)
    delete_study(sqlite_store, study)
    with pytest.raises(NotFoundError, match="was deleted"):
        optuna_bridge.read_trials(sqlite_store, storage, study)
