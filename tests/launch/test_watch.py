"""A study that others run, watched to its end; the others are the test."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.errors import NotFoundError, NothingCompletedError, UnreachableError
from optuna_study.launch.task import Task
from optuna_study.launch.watch import watch
from optuna_study.store.queue import queue
from optuna_study.store.records import EndKind, StudyState
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.deletion import delete_study
from optuna_study.store.studies.studies import set_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna_study.launch.task import Tick
    from optuna_study.paths import Workspace


@pytest.fixture
def ticks(stored_study: Any, workspace: Workspace) -> Iterator[Tick]:
    return watch(Task(stored_study.store, stored_study.study, workspace), every=0.0)


def messages(ticks: Iterator[Tick]) -> list[str]:
    return [message for tick in ticks for message in tick.messages]


def test_it_ends_when_the_budget_is_met(stored_study: Any, ticks: Iterator[Tick]) -> None:
    set_budget(stored_study.store, stored_study.study, 2)
    stored_study.run([0.5])
    next(ticks)
    stored_study.run([0.5])
    assert messages(ticks) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "word"), [(StudyState.PAUSED, "paused"), (StudyState.STOPPING, "stopped")]
)
def test_it_waits_for_the_last_trial_of_a_study_that_is_to_end(
    stored_study: Any, ticks: Iterator[Tick], state: StudyState, word: str
) -> None:
    claim = stored_study.start([0.5])
    set_state(stored_study.store, stored_study.study, state)
    assert next(ticks).messages == ()
    queue.release(stored_study.store, claim, "stopped")
    assert messages(ticks) == [f"small is {word}"]


def test_a_lost_worker_is_not_waited_for(stored_study: Any, ticks: Iterator[Tick]) -> None:
    queue.claim(stored_study.store, stored_study.study, "lost", lease=-1.0)
    set_state(stored_study.store, stored_study.study, StudyState.PAUSED)
    assert messages(ticks) == ["small is paused"]


@pytest.mark.parametrize(("kind", "runs"), [(EndKind.FAILED, 5), (EndKind.DIVERGED, 6)])
def test_a_study_with_nothing_to_show_is_no_success(
    stored_study: Any, ticks: Iterator[Tick], kind: EndKind, runs: int
) -> None:
    for _ in range(runs):
        next(ticks)
        stored_study.run([0.5], kind, reason="no")
    with pytest.raises(NothingCompletedError, match="small: "):
        messages(ticks)


@pytest.mark.parametrize("again", [False, True])
def test_a_study_that_is_deleted_is_gone_though_another_has_its_name(
    stored_study: Any, ticks: Iterator[Tick], *, again: bool
) -> None:
    next(ticks)
    if again:
        with sqlite3.connect(stored_study.store.address.path) as connection:
            for table, column in (
                ("optuna_study_studies", "uuid"),
                ("study_system_attributes", "value_json"),
            ):
                connection.execute(f"UPDATE {table} SET {column} = replace({column}, '-', '+')")
    else:
        delete_study(stored_study.store, stored_study.study)
    with pytest.raises(NotFoundError, match="study 'small' was deleted from sqlite:///"):
        messages(ticks)


def test_a_store_that_is_away_for_a_moment_is_waited_for(
    stored_study: Any, unsteady: Any, workspace: Workspace
) -> None:
    ticks = watch(Task(unsteady.store, stored_study.study, workspace), every=0.0)
    next(ticks)
    unsteady.away = True
    next(ticks)
    next(ticks)
    unsteady.away = False
    set_state(stored_study.store, stored_study.study, StudyState.PAUSED)
    assert messages(ticks) == ["small is paused"]


def test_a_store_that_stays_away_is_given_up(
    stored_study: Any, unsteady: Any, workspace: Workspace
) -> None:
    ticks = watch(Task(unsteady.store, stored_study.study, workspace), every=0.0, max_wait=0.0)
    next(ticks)
    unsteady.away = True
    with pytest.raises(UnreachableError, match="cannot be read or written"):
        messages(ticks)
