"""Who gets which name; two commands in one process stand for containers with one host's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.launch.worker_count import deal
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.queue import queue, scheduling
from optuna_study.store.reads import reads
from optuna_study.store.records import TrialState
from optuna_study.worker.messages import Facts, Order, numbered

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(StoreAddress.parse("sqlite:///studies.db"), tmp_path, "cpu")


def test_workers_of_commands_with_the_same_host_and_process_differ(order: Order) -> None:
    facts = Facts("cpu", 0, chosen_freely=True)
    both = [each for _ in range(2) for each in deal(order, facts, 2)]
    further = [numbered(each, 3) for each in both[::2]]
    assert len({each.name for each in (*both, *further)}) == 6
    assert [each.name[-4:] for each in both] == ["-001", "-002"] * 2
    assert {each.name[:-4] for each in further} == {each.name[:-4] for each in both}


def test_a_dead_worker_s_trial_goes_back_and_no_other_command_s(
    order: Order, stored_study: Any
) -> None:
    facts = Facts("cpu", 0, chosen_freely=True)
    [dead], [alive] = deal(order, facts, 1), deal(order, facts, 1)
    store, study = stored_study.store, stored_study.study
    for each in (dead, alive):
        queue.claim(store, study, each.name)
    assert scheduling.release_worker(store, dead.name) == [("small", 0)]
    assert reads.trial(store, study, 1).state is TrialState.RUNNING
