"""How many workers there are, which share a device, and who gets which name.

Two commands in one process stand for containers with one host's name.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from called_graphs import CalledGraphs

from optuna_study.errors import OptunaStudyError
from optuna_study.launch.worker_count import (
    CONTEXT_BYTES,
    Measured,
    assign_devices,
    best,
    choose_sharing,
    measure,
    next_try,
)
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.queue import queue, scheduling
from optuna_study.store.reads import reads
from optuna_study.store.records import TrialState
from optuna_study.training.device import pick_device
from optuna_study.training.device_data import load_data
from optuna_study.training.divergence import CHUNK
from optuna_study.worker import preflight
from optuna_study.worker.messages import Facts, WorkerTask, numbered
from optuna_study.worker.preflight import train_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace

GIB = 2**30


@pytest.fixture
def task(tmp_path: Path) -> WorkerTask:
    return WorkerTask(StoreAddress.parse("sqlite:///studies.db"), tmp_path, "cpu")


def test_workers_of_commands_with_the_same_host_and_process_differ(task: WorkerTask) -> None:
    facts = Facts("cpu", 0, chosen_freely=True)
    both = [worker for _ in range(2) for worker in assign_devices(task, facts, 2)]
    further = [numbered(worker, 3) for worker in both[::2]]
    assert len({worker.name for worker in (*both, *further)}) == 6
    assert [worker.name[-4:] for worker in both] == ["-001", "-002"] * 2
    assert {worker.name[:-4] for worker in further} == {worker.name[:-4] for worker in both}


def test_a_dead_worker_s_trial_goes_back_and_no_other_command_s(
    task: WorkerTask, stored_study: Any
) -> None:
    facts = Facts("cpu", 0, chosen_freely=True)
    [dead], [alive] = assign_devices(task, facts, 1), assign_devices(task, facts, 1)
    store, study = stored_study.store, stored_study.study
    for worker in (dead, alive):
        queue.claim(store, study, worker.name)
    assert scheduling.release_worker(store, dead.name) == [("small", 0)]
    assert reads.trial(store, study, 1).state is TrialState.RUNNING


def device_of(
    memory: int | None, peak: int, most: float, tried: list[int], breaks_at: int = 1000
) -> Callable[[int], Measured]:
    """A device on which each copy makes 10 steps a second until `most` are made in all."""

    def measured(copies: int) -> Measured:
        tried.append(copies)
        if copies >= breaks_at:
            raise OptunaStudyError("out of memory")
        free = None if memory is None else memory - copies * (peak + CONTEXT_BYTES)
        return Measured(copies, min(10.0 * copies, most), peak, free)

    return measured


@pytest.mark.parametrize(
    ("memory", "most", "cores", "expected", "tries"),
    [
        (80 * GIB, 1000.0, 16, 16, [1, 2, 4, 8, 16]),  # cores end it
        (80 * GIB, 1000.0, 12, 12, [1, 2, 4, 8, 12]),
        (80 * GIB, 1000.0, 1, 1, [1]),
        (80 * GIB, 10.0, 16, 1, [1, 2]),  # a single copy keeps the device busy
        (80 * GIB, 41.0, 16, 4, [1, 2, 4, 8]),  # eight give 2.5 % more than four
        (8 * GIB, 1000.0, 16, 2, [1, 2]),  # four might not fit
        (None, 1000.0, 4, 4, [1, 2, 4]),
    ],
)
def test_doubling_ends_where_it_no_longer_pays(
    memory: int | None, most: float, cores: int, expected: int, tries: list[int]
) -> None:
    tried: list[int] = []
    assert choose_sharing(device_of(memory, GIB, most, tried), cores) == expected
    assert tried == tries


def test_what_cannot_be_measured_is_too_many() -> None:
    assert choose_sharing(device_of(80 * GIB, GIB, 1000.0, [], breaks_at=4), 16) == 2
    assert choose_sharing(device_of(80 * GIB, GIB, 1000.0, [], breaks_at=1), 16) == 1
    assert best([]) == 1


def test_a_tenth_more_is_enough() -> None:
    alone = Measured(1, 100.0, GIB, None)
    assert best([alone, Measured(2, 110.1, GIB, None)]) == 2
    assert best([alone, Measured(2, 109.9, GIB, None)]) == 1
    assert next_try([alone, Measured(2, 109.9, GIB, None)], 16) is None


@pytest.mark.slow
def test_training_for_a_while_goes_on_where_a_short_run_ends(
    definition: Definition, warm_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, cpu = definition.config, pick_device("cpu")
    data = load_data(config.data, None, warm_workspace, cpu)
    an_epoch = len(data.train_labels) // config.train.batch_size
    whole_run = config.train.epochs * an_epoch
    with monkeypatch.context() as patched:
        looks = itertools.count()  # at the clock; a second goes by at each
        patched.setattr("time.perf_counter", lambda: float(next(looks)))
        assert train_for(1.5, config, data, cpu)[0] == 1
        patched.setattr(preflight, "cuda_graphs", lambda _: CalledGraphs())
        looks = itertools.count()  # where steps are replayed, they are counted as they are read
        assert train_for(1.5, config, data, cpu)[0] == min(CHUNK, an_epoch)
    enough = 0.1
    while True:  # until one call has trained longer than a whole run, however slow the machine
        steps, seconds = train_for(enough, config, data, cpu)
        assert steps >= 1
        assert seconds >= enough
        if steps > whole_run:
            break
        enough *= 2


@pytest.mark.slow
def test_processes_train_at_once_and_say_what_they_took(
    definition: Definition, warm_workspace: Workspace
) -> None:
    both = measure(2, definition, None, warm_workspace, "cpu")
    assert both.copies == 2
    assert both.steps_per_second > 0
    assert both.peak_bytes > 100_000_000  # torch alone takes more
    assert both.free_bytes is None


@pytest.mark.slow
def test_a_copy_that_cannot_train_is_an_error(
    definition: Definition, workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(OptunaStudyError, match=r"device 'cuda:99'|no CUDA device"):
        measure(1, definition, None, workspace, "cuda:99")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_shared_as_far_as_it_pays(definition: Definition, workspace: Workspace) -> None:
    seen: list[Measured] = []

    def measured(copies: int) -> Measured:
        seen.append(measure(copies, definition, None, workspace, "cuda:0"))
        return seen[-1]

    copies = choose_sharing(measured, cores=4)
    assert copies in (1, 2, 4)
    assert all(each.peak_bytes > 0 and each.free_bytes for each in seen)
    free = [each.free_bytes or 0 for each in seen]
    assert free == sorted(free, reverse=True)  # every copy takes some of it
