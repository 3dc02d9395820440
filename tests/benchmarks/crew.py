"""Many processes at work at once, forked from one that has imported everything; some are killed.

A fork costs a hundredth of a start, and shares what was imported. The forking process opens no
store and computes nothing: neither survives a fork.
"""

from __future__ import annotations

import contextlib
import gc
import math
import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkProcess

FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Ran:
    """What a crew's run was."""

    seconds: float
    kills: int
    freezes: int  # processes that stood still for a while, and came back
    failed: int  # processes that ended by themselves with an error


def run_crew(
    count: int,
    work: Callable[[int], None],
    *,
    kill_every: float | None = None,
    freeze_every: float | None = None,
    frozen_for: float = 0.0,
    seed: int = 0,
) -> Ran:
    """Run `work` in `count` processes, each told its place, until all have ended by themselves.

    Every `kill_every` seconds one of them, drawn by `seed`, gets SIGKILL; another takes its place.
    Every `freeze_every` seconds one gets SIGSTOP. Whoever was stopped, by itself too, gets SIGCONT
    after `frozen_for` seconds.
    """
    gc.freeze()  # what is shared is not looked through by each for garbage, which would copy it
    draw = random.Random(seed)
    began = time.monotonic()
    kill, freeze = _Due(kill_every, began), _Due(freeze_every, began)
    crew = {place: _start(work, place) for place in range(count)}
    frozen: dict[int, float] = {}  # since when, by process
    kills = freezes = failed = 0
    while crew:
        left = min(kill.left(), freeze.left(), 0.1 if frozen_for else math.inf)
        sentinels = [process.sentinel for process in crew.values()]
        connection.wait(sentinels, timeout=None if left == math.inf else left)
        failed += _dismiss_ended(crew)
        if kill.is_due() and len(crew) == count:  # who has left saw that all is done
            place = draw.choice(sorted(crew))
            crew[place].kill()
            crew[place].join()
            crew[place] = _start(work, place)
            kills += 1
        if freeze.is_due() and len(crew) == count:
            _signal(crew[draw.choice(sorted(crew))], signal.SIGSTOP)
        if frozen_for:
            freezes += _thaw(crew, frozen, frozen_for)
    return Ran(time.monotonic() - began, kills, freezes, failed)


@dataclass
class _Due:
    """Something to be done every so many seconds, or never."""

    every: float | None
    next: float

    def __post_init__(self) -> None:
        self.next += self.every or math.inf

    def left(self) -> float:
        return max(0.0, self.next - time.monotonic())

    def is_due(self) -> bool:
        if self.left():
            return False
        self.next += self.every or math.inf
        return True


def _signal(process: ForkProcess, number: signal.Signals) -> None:
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _thaw(crew: dict[int, ForkProcess], frozen: dict[int, float], seconds: float) -> int:
    """Let those go on that stand still for so long; how many."""
    thawed, now = 0, time.monotonic()
    for process in crew.values():
        try:
            stat = Path(f"/proc/{process.pid}/stat").read_text()
        except FileNotFoundError:
            continue
        pid = process.pid or 0
        if stat.rpartition(")")[2].split()[0] != "T":
            frozen.pop(pid, None)
        elif now - frozen.setdefault(pid, now) >= seconds:
            _signal(process, signal.SIGCONT)
            del frozen[pid]
            thawed += 1
    return thawed


def _start(work: Callable[[int], None], place: int) -> ForkProcess:
    process = FORK.Process(target=work, args=(place,), name=f"worker-{place}", daemon=True)
    process.start()
    return process


def _dismiss_ended(crew: dict[int, ForkProcess]) -> int:
    """Take leave of those that have ended; how many of them with an error."""
    failed = 0
    for place, process in list(crew.items()):
        if process.exitcode is not None:
            del crew[place]
            failed += process.exitcode != 0
    return failed
