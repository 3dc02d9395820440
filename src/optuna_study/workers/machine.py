"""How many cores and how much memory this process may use; a container's limits count."""

from __future__ import annotations

import os
from pathlib import Path

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
