"""The launch's side of its workers: start, watch, restart, stop.

A study's trials belong to the store's leases, not to this process: whatever happens here, a
trial is either ended or goes back. This process never computes and never imports torch.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import TYPE_CHECKING

from optuna_study.errors import FruitlessError, InterruptedBySignalError
from optuna_study.store import queue, reads
from optuna_study.store.records import EndKind, NoTrialReason
from optuna_study.workers.orders import Message, Order, Word, context, enter_worker, rebuilt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

    from optuna_study.errors import OptunaStudyError
    from optuna_study.workers.launch import Prepared

TICK = 0.5  # seconds between two ticks: as often as a table need be drawn
GRACE = (
    30.0  # seconds that workers asked to stop have; a step of a large model, then they are killed
)
DEATHS_IN_A_ROW = 5  # per worker, with no trial ended in between, before the launch gives up
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class WorkerView:
    """One worker, whose process is there unless `pid` is None."""

    name: str
    pid: int | None
    ready: bool  # has loaded its data


@dataclass(frozen=True)
class Tick:
    """What happened since the last tick; the trials themselves are read from the store."""

    workers: tuple[WorkerView, ...]
    messages: tuple[str, ...]  # sentences for people, each once


@dataclass
class _Slot:
    """A place for one worker process, refilled when it dies."""

    order: Order
    process: ForkServerProcess | None = None
    control: Connection[Message, Message] | None = None
    ready: bool = False
    outcome: str | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None

    def view(self) -> WorkerView:
        pid = self.process.pid if self.process else None
        return WorkerView(self.order.name, pid, self.ready)


@dataclass
class _Crew:
    """All workers of a launch and what is known of them."""

    prepared: Prepared
    slots: list[_Slot]
    messages: list[str] = field(default_factory=list)
    deaths: int = 0  # since a trial last ended
    ended: int = 0
    last_error: OptunaStudyError | None = None
    stopping: str | None = None  # why, once they have been told
    stop_before: float = 0.0  # monotonic time at which patience ends


def run(prepared: Prepared, every: float = TICK) -> Iterator[Tick]:
    """Run the prepared launch and yield a tick every so many seconds until nothing is left to do.

    Ends normally when the budget is met, the launch's time is over, or the study is paused or
    stopped from elsewhere.

    Raises:
        InterruptedBySignalError: SIGINT, SIGTERM or SIGHUP; running trials were given back.
        FruitlessError: no trial completed, or too many failed in a row.
        OptunaStudyError: what the workers ran into, when none can go on.
    """
    crew = _Crew(prepared, [_Slot(order) for order in prepared.orders])
    crew.ended = reads.counts(prepared.store, prepared.study).ended
    started = time.monotonic()
    with _listening() as received:
        try:
            for slot in crew.slots:
                _start(slot)
            while any(slot.alive for slot in crew.slots):
                _listen(crew, every)
                _care(crew, received, time.monotonic() - started)
                yield _tick(crew)
        finally:
            _dismiss(crew)
    if crew.messages:
        yield _tick(crew)
    if received:
        raise InterruptedBySignalError(received[0])
    _judge(crew)


def _tick(crew: _Crew) -> Tick:
    messages, crew.messages = tuple(crew.messages), []
    return Tick(tuple(slot.view() for slot in crew.slots), messages)


def _start(slot: _Slot) -> None:
    ours, theirs = connection.Pipe()
    servers = context()
    slot.process = servers.Process(
        target=enter_worker, args=(slot.order, theirs), name=slot.order.name
    )
    slot.process.start()
    theirs.close()
    slot.control, slot.ready, slot.outcome = ours, False, None


def _listen(crew: _Crew, every: float) -> None:
    """Sleep for a tick, less when a worker says something or ends."""
    watched: list[Connection[Message, Message] | int] = []
    for slot in crew.slots:
        if slot.process is not None:
            watched.append(slot.process.sentinel)
        if slot.control is not None:
            watched.append(slot.control)
    connection.wait(watched, timeout=every)
    for slot in crew.slots:
        _hear(crew, slot)


def _hear(crew: _Crew, slot: _Slot) -> None:
    while slot.control is not None and slot.control.poll():
        try:
            message = slot.control.recv()
        except (EOFError, OSError):
            slot.control.close()
            slot.control = None
            return
        if message.word is Word.READY:
            slot.ready = True
        elif message.word is Word.DONE:
            slot.outcome = message.text
        elif message.word is Word.ERROR:
            crew.last_error = rebuilt(message)
            crew.messages.append(f"{slot.order.name}: {message.text}")


def _care(crew: _Crew, received: list[int], elapsed: float) -> None:
    """Everything a tick may call for: signals, the end of the time, dead workers."""
    prepared = crew.prepared
    if received and crew.stopping is None:
        _ask_to_stop(crew, f"{signal.Signals(received[0]).name}: giving running trials back")
    if prepared.timeout is not None and elapsed > prepared.timeout and crew.stopping is None:
        _ask_to_stop(crew, f"the {prepared.timeout:g} s of this launch are over: giving back")
    if crew.stopping and (len(received) > 1 or time.monotonic() > crew.stop_before):
        _kill(crew)
    for slot in crew.slots:
        if slot.process is not None and slot.process.exitcode is not None:
            _bury(crew, slot)


def _ask_to_stop(crew: _Crew, why: str) -> None:
    crew.stopping, crew.stop_before = why, time.monotonic() + GRACE
    crew.messages.append(why)
    for slot in crew.slots:
        _tell_stop(slot)


def _tell_stop(slot: _Slot) -> None:
    if slot.control is None:
        return
    try:
        slot.control.send(Message(Word.STOP))
    except OSError:  # it has just ended
        slot.control.close()
        slot.control = None


def _kill(crew: _Crew) -> None:
    for slot in crew.slots:
        if slot.process is not None and slot.process.exitcode is None:
            slot.process.kill()
            slot.process.join()


def _bury(crew: _Crew, slot: _Slot) -> None:
    """Take leave of an ended process; when it died, give its trial back and start another."""
    assert slot.process is not None
    _hear(crew, slot)
    code = slot.process.exitcode
    slot.process.join()
    slot.process.close()
    slot.process = None
    if slot.control is not None:
        slot.control.close()
        slot.control = None
    if slot.outcome is not None:
        return
    prepared = crew.prepared
    returned = queue.give_back_owner(prepared.store, prepared.study, slot.order.name)
    trial = f", trial {', '.join(map(str, returned))} goes back" if returned else ""
    crew.messages.append(
        f"{slot.order.name} {_died(code)}{trial}; log: {prepared.log(slot.order)}"
    )
    if crew.stopping is None and _may_restart(crew):
        _start(slot)


def _died(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _may_restart(crew: _Crew) -> bool:
    """Whether dying workers get somewhere: a trial has ended since the last few deaths."""
    ended = reads.counts(crew.prepared.store, crew.prepared.study).ended
    crew.deaths = 1 if ended > crew.ended else crew.deaths + 1
    crew.ended = ended
    return crew.deaths < DEATHS_IN_A_ROW * len(crew.slots)


def _dismiss(crew: _Crew) -> None:
    """Leave no process behind, whatever ended the loop."""
    if not any(slot.alive for slot in crew.slots):
        return
    for slot in crew.slots:
        _tell_stop(slot)
    patience = time.monotonic() + GRACE
    for slot in crew.slots:
        if slot.process is not None:
            slot.process.join(max(0.0, patience - time.monotonic()))
    _kill(crew)
    crew.stopping = crew.stopping or "the launch ended early"
    for slot in crew.slots:
        if slot.process is not None:
            _bury(crew, slot)


def _judge(crew: _Crew) -> None:
    """Say whether what was done bore fruit.

    Raises:
        FruitlessError: no trial completed though the study is over, or too many failed in a row.
        OptunaStudyError: every worker died of it.
    """
    outcomes = {slot.outcome for slot in crew.slots}
    if crew.stopping is not None:
        return
    if outcomes == {None}:
        raise crew.last_error or FruitlessError(
            "workers died again and again before a trial ended; their logs say more: "
            f"{crew.prepared.log(crew.slots[0].order).parent}"
        )
    name = crew.prepared.study.name
    if NoTrialReason.TOO_MANY_FAILURES in outcomes:
        raise FruitlessError(
            f"{name}: too many trials failed in a row; `optuna-study trials {name}` gives the "
            "reasons, `optuna-study show` with --trial a traceback"
        )
    counts = reads.counts(crew.prepared.store, crew.prepared.study)
    if NoTrialReason.BUDGET_MET in outcomes and not counts.ends.get(EndKind.COMPLETED):
        raise FruitlessError(
            f"{name}: {counts.ended} trials ended and none completed; "
            f"`optuna-study trials {name}` gives the reasons"
        )


@contextmanager
def _listening() -> Iterator[list[int]]:
    """Collect signals: the first asks workers to stop, the second kills them."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python delivers signals to the main thread alone
        return

    def note(number: int, frame: object) -> None:
        received.append(number)

    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.signal(number, note) for number in SIGNALS
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
