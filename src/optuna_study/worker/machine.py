"""How many cores and how much memory this process may use; a container's limits count."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKER_BYTES = 1_000_000_000  # a worker's own memory: torch, a small model, its share of the data
_GROUP = Path("/sys/fs/cgroup")


def cores(group: Path = _GROUP) -> int:
    """Cores this process may run on, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = _text(group / "cpu.max").partition(" ")
    limits = [allowed or 1]
    if quota.isdecimal() and period.strip().isdecimal():
        limits.append(int(quota) // int(period))
    return max(1, min(limits))


GPU_FILES = ("dev/nvidiactl", "dev/nvidia0", "dev/dxg", "dev/kfd")  # NVIDIA's, WSL's, AMD's


def may_have_gpu(root: Path = Path("/")) -> bool:
    """Whether a driver of a GPU is there; without one, torch has none to find."""
    return any((root / name).exists() for name in GPU_FILES)


def cpu_workers(threads: int, allowed_cores: int, memory: int | None) -> int:
    """Workers that keep the cores busy with `threads` each and fit in memory, at least one.

    >>> (
    ...     cpu_workers(1, 8, 64_000_000_000),
    ...     cpu_workers(4, 8, None),
    ...     cpu_workers(1, 8, 3_500_000_000),
    ... )
    (8, 2, 3)
    """
    by_cores = allowed_cores // max(1, threads)
    by_memory = by_cores if memory is None else memory // WORKER_BYTES
    return max(1, min(by_cores, by_memory))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


ROOT = Path("/")
DYING = 10.0  # seconds that a killed process may take to give back its memory and be gone


def free(root: Path = ROOT) -> int | None:
    """Bytes that this process may still take, or None where the system does not say."""
    found = []
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    for folder, limit, used in _groups(root):
        most, taken = _text(folder / limit).strip(), _text(folder / used).strip()
        if most.isdecimal() and taken.isdecimal():
            found.append(max(0, int(most) - int(taken)))
    return min(found) if found else None


def kills(root: Path = ROOT) -> int | None:
    """Processes of this one's control group that the kernel has killed for want of memory.

    Where there are no control groups, those of the whole machine; None where the system does not
    say.
    """
    for folder, _, _ in _groups(root):
        for name in ("memory.events", "memory.oom_control"):
            count = _field(folder / name, "oom_kill")
            if count is not None:
                return count
    return _field(root / "proc/vmstat", "oom_kill")


@dataclass
class KernelKills:
    """Kills for want of memory that no dead process was found for yet.

    A count that rises long before or after a process dies has nothing to do with it.
    """

    read: Callable[[], int | None] = kills
    clock: Callable[[], float] = time.monotonic
    _count: int | None = field(init=False)
    _fresh: deque[float] = field(default_factory=deque, init=False)  # when each was seen

    def __post_init__(self) -> None:
        self._count = self.read()

    def look(self) -> None:
        """See what has happened; to be called every now and then."""
        now, count = self.clock(), self.read()
        if count is not None and self._count is not None:
            self._fresh.extend([now] * (count - self._count))
        self._count = count
        while self._fresh and now - self._fresh[0] > DYING:
            self._fresh.popleft()

    def take(self) -> bool:
        """Whether a process that was just found killed may have been one of them."""
        self.look()
        if not self._fresh:
            return False
        self._fresh.popleft()
        return True


def _groups(root: Path) -> Iterator[tuple[Path, str, str]]:
    """This process's memory groups: the folder, and its files of the limit and of what is used.

    The innermost comes first. Version 2 first, then version 1. A container sees its own group as
    the top of the tree, whatever its process is told about its path.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, limit, used = root / "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        inner = top / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if (folder / used).is_file():
                yield folder, limit, used
            if folder == top:
                break


def _field(path: Path, name: str) -> int | None:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return None
