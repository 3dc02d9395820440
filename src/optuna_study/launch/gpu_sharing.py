"""How many workers share a GPU for `--workers auto`: tried out, with the study's own training.

One copy of the base configuration trains for a moment, then 2, 4, ... at once, as long as memory
and cores allow and each doubling gives a tenth more steps per second, all copies together.
Nothing is kept for the next launch: another process may have the GPU by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import connection
from typing import TYPE_CHECKING

from optuna_study.errors import OptunaStudyError
from optuna_study.worker.entry import context, enter_probe
from optuna_study.worker.messages import Message, Probed, rebuilt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace

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


def choose(measure: Callable[[int], Measured], cores: int) -> int:
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
    started = [_start(definition, folder, workspace, device) for _ in range(copies)]
    try:
        for _, control in started:
            _answer(control)  # loaded and warm
        for _, control in started:
            control.send(None)
        probed = [_answer(control) for _, control in started]
    finally:
        for process, control in started:
            control.close()
            process.terminate()
            process.join()
            process.close()
    free = [each.free_bytes for each in probed if each.free_bytes is not None]
    return Measured(
        copies,
        sum(each.steps / each.seconds for each in probed),
        max(each.peak_bytes for each in probed),
        min(free) if free else None,
    )


def _start(
    definition: Definition, folder: Path | None, workspace: Workspace, device: str
) -> tuple[ForkServerProcess, Connection[None, Probed | Message]]:
    ours, theirs = connection.Pipe()
    process = context().Process(
        target=enter_probe, args=(theirs, definition, folder, workspace, device)
    )
    process.start()
    theirs.close()
    return process, ours


def _answer(control: Connection[None, Probed | Message]) -> Probed:
    try:
        answer = control.recv()
    except (EOFError, OSError):
        raise OptunaStudyError("a process that tried out the device died") from None
    if isinstance(answer, Message):
        raise rebuilt(answer)
    return answer
