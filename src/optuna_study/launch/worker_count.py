"""How many workers a machine gets, and which device each of them has."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from optuna_study.errors import UsageError
from optuna_study.worker import machine
from optuna_study.worker import machine as memory

if TYPE_CHECKING:
    from optuna_study.worker.messages import Facts, Order


MOST_WORKERS = 1000  # a process each, so no machine runs more; a number mistyped would fill memory


def check_crew(workers: str | int, timeout: float | None) -> None:
    """Refuse a number of workers or a time that cannot be.

    Raises:
        UsageError: either is not positive, or there are more workers than any machine runs.
    """
    if timeout is not None and not timeout > 0:
        raise UsageError(f"--timeout {timeout:g}: give seconds greater than 0")
    if workers != "auto" and not (isinstance(workers, int) and 1 <= workers <= MOST_WORKERS):
        raise UsageError(
            f"--workers {workers}: give auto or a number from 1 to {MOST_WORKERS}; each is a "
            "process of its own"
        )


def worker_count(asked: str | int, threads: int, facts: Facts, allowed_cores: int) -> int:
    """The number asked for; for `auto` what GPUs, or cores of `threads` each and memory, allow."""
    if isinstance(asked, int):
        return asked
    if facts.device != "cpu":
        return facts.cuda_devices if facts.chosen_freely else 1
    return machine.cpu_workers(threads, allowed_cores, memory.free())


def deal(order: Order, facts: Facts, count: int) -> tuple[Order, ...]:
    """An order a worker, each with a name and a device of its own; GPUs are dealt round.

    Names are unique, for a trial is given back by its owner's name: containers that share a host's
    name count their processes from 1, and would have the same host and process.
    """
    spread = facts.chosen_freely and facts.cuda_devices > 0
    here = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    return tuple(
        replace(
            order,
            device=f"cuda:{slot % facts.cuda_devices}" if spread else facts.device,
            name=f"{here}-{slot + 1:03d}",
        )
        for slot in range(count)
    )
