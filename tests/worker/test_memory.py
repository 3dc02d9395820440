"""Memory by the files of a fake system, and a real kernel that kills a real worker for it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.config.reasons import SystemOutOfMemory
from optuna_study.store.reads import reads
from optuna_study.store.records import EndKind, TrialState
from optuna_study.worker import machine
from optuna_study.worker.machine import DYING, KernelKills

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNLIMITED = "9223372036854771712\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n"}
VERSION_2 = {
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/memory.current": "1000000000\n",
    "sys/fs/cgroup/memory.max": "3000000000\n",
    "sys/fs/cgroup/memory.events": "low 0\noom 4\noom_kill 3\noom_group_kill 0\n",
}
VERSION_1 = {
    "proc/self/cgroup": "9:cpu,cpuacct:/jobs/7\n4:memory:/jobs/7\n0::/\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "2000000000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED,
    "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\noom_kill 9\n",
    "sys/fs/cgroup/memory/jobs/memory.usage_in_bytes": "1500000000\n",
    "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes": "2000000000\n",
    "sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes": "1000000000\n",
    "sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes": UNLIMITED,
    "sys/fs/cgroup/memory/jobs/7/memory.oom_control": "oom_kill_disable 0\noom_kill 5\n",
}
ELSEWHERE = VERSION_1 | {"proc/self/cgroup": "4:memory:/seen/from/the/host\n"}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        (MACHINE, 8_000_000 * 1024),
        (MACHINE | VERSION_2, 2_000_000_000),
        (MACHINE | VERSION_2 | {"sys/fs/cgroup/memory.max": "max\n"}, 8_000_000 * 1024),
        (MACHINE | VERSION_1, 500_000_000),
        (MACHINE | ELSEWHERE, 8_000_000 * 1024),
        (VERSION_2 | {"sys/fs/cgroup/memory.current": "3000000001\n"}, 0),
    ],
)
def test_a_control_groups_share_of_the_memory_counts(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    assert machine.free(write(tmp_path, files)) == free


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({}, None),
        ({"proc/vmstat": "nr_free_pages 7\noom_kill 12\n"}, 12),
        ({"proc/vmstat": "oom_kill 12\n"} | VERSION_2, 3),
        ({"proc/vmstat": "oom_kill 12\n"} | VERSION_1, 5),
        (ELSEWHERE, 9),
    ],
)
def test_kills_are_those_of_ones_own_group(
    tmp_path: Path, files: dict[str, str], kills: int | None
) -> None:
    assert machine.kills(write(tmp_path, files)) == kills


def test_this_machine_says_something() -> None:
    if not Path("/proc/vmstat").is_file():
        pytest.skip("no /proc/vmstat here")
    assert machine.kills() is not None
    assert machine.free()


class Kernel:
    """A count of kills and a clock that a test moves."""

    def __init__(self) -> None:
        self.count, self.now = 5, 0.0
        self.kills = KernelKills(lambda: self.count, lambda: self.now)


def test_a_kill_explains_one_death() -> None:
    kernel = Kernel()
    assert not kernel.kills.take()  # those before do not count
    kernel.count += 1
    assert kernel.kills.take()
    assert not kernel.kills.take()


def test_a_kill_long_ago_explains_no_death() -> None:
    kernel = Kernel()
    kernel.count += 1
    kernel.kills.look()
    kernel.now += DYING + 1
    assert not kernel.kills.take()


HUNGRY = """
import multiprocessing
import torch

def build(settings, *, channels, image_size, classes):
    works = multiprocessing.current_process().name.endswith("-001")  # what checks it may not die
    if works and settings.dropout > 0.3:
        taken = [bytearray(b"x" * 100_000_000) for _ in range(100)]
    flat = channels * image_size ** 2
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(flat, classes))
"""


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 2 GB, which the kernel guards by killing."""
    tops = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
    top = next((each for each in tops if (each / "cgroup.procs").is_file()), None)
    limit = "memory.limit_in_bytes" if top == tops[0] else "memory.max"
    if top is None:
        pytest.skip("no control groups here")
    group = top / f"optuna-study-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text("2000000000")
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"a control group with a limit of memory cannot be made here: {error}")
    yield group
    for _ in range(100):  # the last process may be going still
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            break


@pytest.mark.slow
def test_a_worker_that_the_kernel_kills_for_memory_ends_its_trial_and_no_other(
    launch: Callable[..., Any],
    small_group: Path,
    study_text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "hungry.py").write_text(HUNGRY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    text = study_text.replace('name = "alexnet"', 'name = "hungry:build"')
    text = text.replace('variant = "single_tower"\n', "").replace("epochs = 10", "epochs = 2")
    text = text.replace("settings = {lr = 80.0}", "settings = {lr = 0.01, dropout = 0.4}")
    text = text.replace('outside = ["lr"]', 'outside = ["dropout"]')
    text = text.replace("high = 0.5, step = 0.1", "high = 0.2, step = 0.1")
    text = text.replace("trials = 3", "trials = 1").replace("{lr = 0.001}", "{dropout = 0.1}")
    started = launch(tmp_path / "root", text, workers=1)
    (small_group / "cgroup.procs").write_text(str(started.process.pid))
    code, said = started.wait()
    assert code == 0, said
    store, study = started.look()
    trials = reads.trials(store, study)
    assert [trial.end for trial in trials] == [
        EndKind.COMPLETED,
        EndKind.OUT_OF_MEMORY,
        EndKind.COMPLETED,
    ]
    hungry = trials[1]
    assert (hungry.state, hungry.strikes, hungry.claims) == (TrialState.PRUNED, 0, 1)
    assert isinstance(hungry.reason, SystemOutOfMemory)
    assert "was killed by SIGKILL for want of memory, trial 1 ends as out_of_memory" in said
