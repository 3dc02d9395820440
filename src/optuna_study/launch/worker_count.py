"""How many workers a machine gets, and which device each of them has.

Whether several share a GPU is tried out with the study's own training: one copy of the base
configuration trains for a moment, then 2, 4, ... at once, as long as memory and cores allow and
each doubling gives a tenth more steps per second, all copies together. Nothing is kept for the
next launch: another process may have the GPU by then.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from optuna_study.errors import OptunaStudyError, UsageError
from optuna_study.launch.ask import ask_to_train
from optuna_study.worker import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.worker.messages import Facts, WorkerTask

MOST_WORKERS = 1000  # a process each, so no machine runs more; a number mistyped would fill memory
GAIN = 1.1  # by which a doubling has to raise the throughput to be worth its memory
HEADROOM = 2  # other configurations of the space may need more memory than the base
CONTEXT_BYTES = 600_000_000  # of a process's CUDA context, beside its tensors


@dataclass(frozen=True)
class Measured:
    """Copies of a configuration that trained at once on one device."""

    copies: int
    steps_per_second: float  # of all copies together
    peak_bytes: int  # of the copy that took most
    free_bytes: int | None


def check_workers(workers: str | int, timeout: float | None) -> None:
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
    return machine.cpu_workers(threads, allowed_cores, machine.free())


def assign_devices(task: WorkerTask, facts: Facts, count: int) -> tuple[WorkerTask, ...]:
    """A task a worker, each with a name and a device of its own; GPUs are taken by turns.

    Names are unique, for a trial is requeued by its owner's name: containers that share a host's
    name count their processes from 1, and would have the same host and process.
    """
    spread = facts.chosen_freely and facts.cuda_devices > 0
    here = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    return tuple(
        replace(
            task,
            device=f"cuda:{slot % facts.cuda_devices}" if spread else facts.device,
            name=f"{here}-{slot + 1:03d}",
        )
        for slot in range(count)
    )


def choose_sharing(measure: Callable[[int], Measured], cores: int) -> int:
    """The number of workers for one device, found by measuring; at most `cores`.

    A number of copies that cannot be measured, out of memory for one, is too many.
    """
    measured: list[Measured] = []
    copies: int | None = 1
    while copies is not None:
        try:
            measured.append(measure(copies))
        except OptunaStudyError:
            break
        copies = next_try(measured, cores)
    return best(measured)


def next_try(measured: Sequence[Measured], cores: int) -> int | None:
    """How many copies to try after those measured, in this order; None for no more.

    >>> alone = Measured(1, 100.0, 10**9, 70 * 10**9)
    >>> next_try([alone], cores=16), next_try([alone], cores=1)
    (2, None)
    >>> next_try([alone, Measured(2, 105.0, 10**9, 68 * 10**9)], cores=16) is None
    True
    """
    last = measured[-1]
    if best(measured) != last.copies:
        return None
    copies = min(2 * last.copies, cores)
    more = (copies - last.copies) * HEADROOM * (last.peak_bytes + CONTEXT_BYTES)
    if more <= 0 or (last.free_bytes is not None and more > last.free_bytes):
        return None
    return copies


def best(measured: Sequence[Measured]) -> int:
    """The most copies up to which every step was worth it, one if nothing is known."""
    copies, speed = 1, 0.0
    for each in measured:
        if each.steps_per_second < GAIN * speed:
            break
        copies, speed = each.copies, each.steps_per_second
    return copies


def measure(
    copies: int, definition: Definition, folder: Path | None, workspace: Workspace, device: str
) -> Measured:
    """Let so many processes train the base configuration at the same time for a moment.

    Raises:
        OptunaStudyError: one of them could not.
    """
    probed = ask_to_train(copies, definition, folder, workspace, device)
    free = [probe.free_bytes for probe in probed if probe.free_bytes is not None]
    return Measured(
        copies,
        sum(probe.steps / probe.seconds for probe in probed),
        max(probe.peak_bytes for probe in probed),
        min(free) if free else None,
    )
