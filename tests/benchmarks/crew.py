"""Many processes at work at once, forked from one that has imported everything; some are killed.

A fork costs a hundredth of a start, and shares what was imported. The forking process opens no
store and computes nothing: neither survives a fork.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from dataclasses import dataclass
from multiprocessing import connection
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
    failed: int  # processes that ended by themselves with an error


def run_crew(
    count: int,
    work: Callable[[int], None],
    *,
    kill_every: float | None = None,
    seed: int = 0,
) -> Ran:
    """Run `work` in `count` processes, each told its place, until all have ended by themselves.

    Every `kill_every` seconds one of them, drawn by `seed`, gets SIGKILL; another takes its place.
    """
    draw = random.Random(seed)
    began = time.monotonic()
    due = began + kill_every if kill_every else None
    crew = {place: _start(work, place) for place in range(count)}
    kills = failed = 0
    while crew:
        left = None if due is None else max(0.0, due - time.monotonic())
        connection.wait([process.sentinel for process in crew.values()], timeout=left)
        failed += _dismiss_ended(crew)
        if kill_every and due is not None and time.monotonic() >= due and crew:
            place = draw.choice(sorted(crew))
            crew[place].kill()
            crew[place].join()
            crew[place] = _start(work, place)
            kills += 1
            due += kill_every
    return Ran(time.monotonic() - began, kills, failed)


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
