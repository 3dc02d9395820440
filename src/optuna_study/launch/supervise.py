"""The side of `launch` and `worker` that has worker processes, wherever they run: watch, restart.

A study's trials belong to the store's leases, not to this process: whatever happens here, a
trial is either ended or goes back. This process never computes and never imports torch.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from optuna_study.config.reasons import SystemOutOfMemory
from optuna_study.errors import (
    DataError,
    FruitlessError,
    InterruptedBySignalError,
    UnreachableError,
)
from optuna_study.launch.result import halted_sentences, require_fruit
from optuna_study.launch.signals import listening
from optuna_study.store.engine.retry import MAX_WAIT, Backoff, retry_until_done
from optuna_study.store.queue import scheduling
from optuna_study.store.records import End, EndKind, NoTrialReason
from optuna_study.text import count
from optuna_study.worker.messages import Word, numbered, rebuilt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna_study.errors import OptunaStudyError
    from optuna_study.launch.backend import Place, WorkerProcess
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord
    from optuna_study.worker.messages import Order

TICK = 0.5  # seconds between two ticks: as often as a table need be drawn
GRACE = 30.0  # seconds that workers asked to stop have: a step of a large model, then the kill
DEATHS_IN_A_ROW = 5  # per worker, with no trial any further, before the launch gives up


class Task(Protocol):
    """What a crew of workers is there for."""

    @property
    def store(self) -> Store:
        """Where the trials are."""

    @property
    def study(self) -> StudyRecord | None:
        """The one study to work on; None for every active one of the store."""

    @property
    def orders(self) -> tuple[Order, ...]:
        """An order a worker."""

    @property
    def timeout(self) -> float | None:
        """Seconds after which running trials are given back; None for no end."""

    def log(self, order: Order) -> Path:
        """The log file of a worker; a pattern where it has one in several studies."""


@dataclass(frozen=True)
class WorkerView:
    """One worker, whose process is there unless `pid` is None."""

    name: str
    pid: int | None


@dataclass(frozen=True)
class Tick:
    """What happened since the last tick; the trials themselves are read from the store."""

    workers: tuple[WorkerView, ...]
    messages: tuple[str, ...]  # sentences for people, each once


@dataclass(frozen=True)
class _Death:
    """How a worker process ended that had not said goodbye."""

    how: str
    starved: bool
    ordered: bool  # killed by its own command, since it took too long to stop


@dataclass
class _Slot:
    """A place for one worker process, refilled when it dies."""

    order: Order
    process: WorkerProcess | None = None
    outcome: str | None = None
    death: _Death | None = None  # whose trial was not given back yet: the store is away

    @property
    def alive(self) -> bool:
        return self.process is not None or self.death is not None

    def view(self) -> WorkerView:
        pid = self.process.pid if self.process else None
        return WorkerView(self.order.name, pid)


@dataclass
class _Crew:
    """All workers of a task and what is known of them."""

    task: Task
    place: Place
    slots: list[_Slot]
    hired: int  # slots there have ever been; the next one's number follows
    messages: list[str] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)  # messages that need no repetition
    deaths: int = 0  # since a trial last got further
    progress: int = 0
    last_error: OptunaStudyError | None = None
    stopping: str | None = None  # why, once they have been told
    stop_before: float = 0.0  # monotonic time at which patience ends
    killed: bool = False  # those that were still at work then
    backoff: Backoff = field(default_factory=Backoff)  # of a store that is away


def run(task: Task, place: Place, every: float = TICK) -> Iterator[Tick]:
    """Run a task's workers and yield a tick every so many seconds until nothing is left to do.

    Ends normally when the budget is met, the task's time is over, or the study is paused or
    stopped from elsewhere.

    Raises:
        InterruptedBySignalError: SIGINT, SIGTERM or SIGHUP; running trials were given back.
        FruitlessError: no trial completed, or too many failed in a row.
        NotFoundError: the study was deleted.
        OptunaStudyError: what the workers ran into, when none can go on.
    """
    slots = [_Slot(order) for order in task.orders]
    crew = _Crew(task, place, slots, hired=len(slots))
    crew.progress = scheduling.progress(task.store, task.study)
    started = time.monotonic()
    with place.at_work(), listening() as received:
        try:
            for slot in crew.slots:
                _start(crew, slot)
            while any(slot.alive for slot in crew.slots):
                place.wait(every)
                for slot in crew.slots:
                    _hear(crew, slot)
                _care(crew, received, time.monotonic() - started)
                yield _tick(crew)
        finally:
            _dismiss(crew)
    _say_why(crew)
    if crew.messages:
        yield _tick(crew)
    if received:
        raise InterruptedBySignalError(received[0])
    _judge(crew)


def _tick(crew: _Crew) -> Tick:
    messages, crew.messages = tuple(crew.messages), []
    return Tick(tuple(slot.view() for slot in crew.slots), messages)


def _start(crew: _Crew, slot: _Slot) -> None:
    slot.process = crew.place.start(slot.order)
    slot.outcome = None


def _hear(crew: _Crew, slot: _Slot) -> None:
    for message in slot.process.hear() if slot.process is not None else ():
        if message.word is Word.DONE:
            slot.outcome = message.text
        elif message.word is Word.NOTE:
            if message.text not in crew.notes:  # every worker finds the same
                crew.messages.append(message.text)
            crew.notes.add(message.text)
        else:
            crew.messages.append(f"{slot.order.name}: {message.text}")
            if message.word is Word.ERROR:
                crew.last_error = rebuilt(message)


def _care(crew: _Crew, received: list[int], elapsed: float) -> None:
    """Everything a tick may call for: signals, the end of the time, dead workers."""
    timeout = crew.task.timeout
    if received and crew.stopping is None:
        _ask_to_stop(crew, f"{signal.Signals(received[0]).name}: giving running trials back")
    if timeout is not None and elapsed > timeout and crew.stopping is None:
        _ask_to_stop(crew, f"the {timeout:g} s asked for are over: giving back")
    if crew.stopping and (len(received) > 1 or time.monotonic() > crew.stop_before):
        _kill(crew)
    for slot in list(crew.slots):
        how = slot.process.ended() if slot.process is not None else None
        if how is not None:
            _bury(crew, slot, how)
        elif slot.death is not None and crew.backoff.due:
            hurried = len(received) > 1 or time.monotonic() > crew.stop_before
            _settle(crew, slot, slot.death, last=crew.stopping is not None and hurried)
    _fit(crew)


def _ask_to_stop(crew: _Crew, why: str) -> None:
    crew.stopping, crew.stop_before = why, time.monotonic() + GRACE
    crew.messages.append(why)
    for slot in crew.slots:
        if slot.process is not None:
            slot.process.ask_to_stop()


def _kill(crew: _Crew) -> None:
    crew.killed = True
    for slot in crew.slots:
        if slot.process is not None and _at_work(slot):
            slot.process.kill()


def _bury(crew: _Crew, slot: _Slot, how: str, *, last: bool = False) -> None:
    """Take leave of an ended process; when it died, see to its trial and start another."""
    assert slot.process is not None
    _hear(crew, slot)
    starved = slot.process.starved()
    slot.process.close()
    slot.process = None
    if slot.outcome is None:
        _settle(crew, slot, _Death(how, starved, ordered=crew.killed), last=last)


def _settle(crew: _Crew, slot: _Slot, death: _Death, *, last: bool) -> None:
    """Give a dead worker's trial back, or end it if it took all memory, and start another worker.

    While the store is away this is put off, unless it is the `last` moment to do so or the
    store has been away for too long: then the lease will run out.
    """
    task, name = crew.task, slot.order.name
    slot.death, restart = None, False
    try:
        progress = scheduling.progress(task.store, task.study)
        what = _leave_trial(task, name, death)
    except UnreachableError as error:
        crew.backoff.record_failure()
        if not last and task.store.outage.seconds < MAX_WAIT:
            slot.death = death
            return
        crew.last_error = error
        what = f"; a trial of it goes back when its lease has run out: {error}"
    else:
        crew.backoff.record_success()
        restart = crew.stopping is None and _gets_somewhere(crew, progress)
    crew.messages.append(f"{name} {death.how}{what}; log: {task.log(slot.order)}")
    if restart:
        _start(crew, slot)


def _leave_trial(task: Task, name: str, death: _Death) -> str:
    """End what a starved worker held, give back what another did; the words for it."""
    end = End(EndKind.OUT_OF_MEMORY, SystemOutOfMemory(name)) if death.starved else None
    done = scheduling.release_worker(task.store, name, end=end, strike=not death.ordered)
    numbers = ", ".join(f"{number}" if task.study else f"{number} of {of}" for of, number in done)
    cause = " for want of memory" if death.starved else ""
    if not done:
        return cause
    return f"{cause}, trial {numbers} {'ends as out_of_memory' if death.starved else 'goes back'}"


def _fit(crew: _Crew) -> None:
    """Follow a place that grows and shrinks; nobody waits for room when the study is done."""
    waiting = [
        slot for slot in crew.slots if slot.process is not None and slot.process.pid is None
    ]
    alive = sum(slot.alive for slot in crew.slots)
    if any(slot.outcome is not None for slot in crew.slots):
        surplus = len(waiting)
    else:
        room = crew.place.room()
        if room is None or crew.stopping is not None:
            return
        surplus = alive - max(1, room)  # one may wait, however little room there is
    for slot in waiting[::-1][: max(0, surplus)]:
        _withdraw(crew, slot)
    if surplus < 0:
        crew.messages.append(f"room for {count(-surplus, 'more worker')}")
    for _ in range(-surplus):
        crew.hired += 1
        slot = _Slot(numbered(crew.task.orders[0], crew.hired))
        crew.slots.append(slot)
        _start(crew, slot)


def _withdraw(crew: _Crew, slot: _Slot) -> None:
    assert slot.process is not None
    slot.process.kill()
    slot.process.close()
    slot.process = None
    crew.slots.remove(slot)


def _gets_somewhere(crew: _Crew, progress: int) -> bool:
    """Whether dying workers do: some trial got further since the last few deaths."""
    crew.deaths = 1 if progress > crew.progress else crew.deaths + 1
    crew.progress = progress
    return crew.deaths < DEATHS_IN_A_ROW * len(crew.slots)


def _dismiss(crew: _Crew) -> None:
    """Leave no process behind, whatever ended the loop."""
    if not any(slot.alive for slot in crew.slots):
        return
    for slot in crew.slots:
        if slot.process is not None:
            slot.process.ask_to_stop()
    patience = time.monotonic() + GRACE
    while time.monotonic() < patience and any(_at_work(slot) for slot in crew.slots):
        crew.place.wait(TICK)
        for slot in crew.slots:
            _hear(crew, slot)
    _kill(crew)
    crew.stopping = crew.stopping or "ended early"
    for slot in crew.slots:
        if slot.process is not None:
            _bury(crew, slot, slot.process.ended() or "was killed", last=True)
        elif slot.death is not None:
            _settle(crew, slot, slot.death, last=True)


def _at_work(slot: _Slot) -> bool:
    return slot.process is not None and slot.process.ended() is None


def _say_why(crew: _Crew) -> None:
    """Tell of a study that was paused or stopped from elsewhere, or of a store without more."""
    outcomes, study = {slot.outcome for slot in crew.slots}, crew.task.study
    if outcomes == {NoTrialReason.NOTHING_LEFT}:
        crew.messages.append(f"{crew.task.store.address}: no study has a trial left to run")
        crew.messages += retry_until_done(lambda: halted_sentences(crew.task.store), _sleep)
    for reason, word in ((NoTrialReason.PAUSED, "paused"), (NoTrialReason.STOPPING, "stopped")):
        if study is not None and reason in outcomes:
            crew.messages.append(
                f"{study.name} is {word}, so its workers end; launching it again lets it go on"
            )


def _judge(crew: _Crew) -> None:
    """Say whether what was done bore fruit.

    Raises:
        FruitlessError: no trial completed though the study is over, or too many failed in a row.
        NotFoundError: the study was deleted.
        DataError: none of the store's studies can be worked on here.
        OptunaStudyError: every worker died of it.
    """
    outcomes = {slot.outcome for slot in crew.slots}
    if crew.stopping is not None:
        return
    if outcomes == {None}:
        raise crew.last_error or FruitlessError(
            "workers died again and again before a trial got any further; their logs say more: "
            f"{crew.task.log(crew.task.orders[0]).parent}"
        )
    if NoTrialReason.NOT_HERE in outcomes:
        raise DataError(
            f"{crew.task.store.address}: holds trials to run, none of which can be run here: "
            f"{'; '.join(sorted(crew.notes))}"
        )
    if (study := crew.task.study) is not None:
        retry_until_done(lambda: require_fruit(crew.task.store, study, outcomes), _sleep)


def _sleep(seconds: float) -> bool:
    """Wait for the store where nothing but the user's signal can end it, by ending the process."""
    time.sleep(seconds)
    return False
