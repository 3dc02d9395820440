"""The side of `launch` and `worker` that has worker processes, wherever they run: watch, restart.

A study's trials belong to the store's leases, not to this process: whatever happens here, a
trial is either ended or returned to the queue. This process never computes and never imports
torch.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from optuna_study.config.reasons import SystemOutOfMemory
from optuna_study.errors import (
    DataError,
    InterruptedBySignalError,
    NothingCompletedError,
    OptunaStudyError,
    UnreachableError,
)
from optuna_study.launch.signals import record_signals
from optuna_study.launch.task import (
    AnyTask,
    Tick,
    WorkerView,
    halted_sentences,
    raise_if_nothing_completed,
)
from optuna_study.store.engine.retry import MAX_WAIT, Backoff, retry_until_done
from optuna_study.store.queue import scheduling
from optuna_study.store.records import End, EndKind, NoTrialReason
from optuna_study.text import count
from optuna_study.worker.messages import MessageKind, WorkerTask, numbered, rebuilt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna_study.launch.backend import Backend, WorkerProcess

TICK = 0.5  # seconds between two ticks: as often as a table need be drawn
GRACE = 30.0  # seconds that workers asked to stop have: a step of a large model, then the kill
DEATHS_AT_OPENING = 2  # of a study that no worker has opened yet, before it is left out
DEATHS_IN_A_ROW = 5  # per worker, with no trial any further, before the launch gives up


@dataclass(frozen=True)
class _Death:
    """How a worker process ended that had not said goodbye."""

    how: str
    out_of_memory: bool
    ordered: bool  # killed by its own command, since it took too long to stop


@dataclass
class _Slot:
    """A place for one worker process, refilled when it dies."""

    task: WorkerTask
    process: WorkerProcess | None = None
    opening: str | None = None  # the study whose pictures and model its process now reads
    outcome: str | None = None
    death: _Death | None = None  # whose trial was not released yet: the store is away

    @property
    def alive(self) -> bool:
        return self.process is not None or self.death is not None

    def view(self) -> WorkerView:
        return WorkerView(self.task.name, self.process.pid if self.process else None)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.ended() is None


class WorkerPool:
    """The workers of a task: started when the pool is entered, none left when it is exited."""

    def __init__(self, task: AnyTask, backend: Backend) -> None:
        self._task = task
        self._backend = backend
        self._slots = [_Slot(worker) for worker in task.workers]
        self._started = len(self._slots)  # slots there have ever been; the next number follows
        self._messages: list[str] = []
        self._notes: set[str] = set()  # messages that need no repetition
        self._progress = scheduling.progress(task.store, task.study)
        self._deaths = 0  # since a trial last got further
        self._opened: set[str] = set()  # studies that a worker has opened and outlived
        self._deaths_at_opening: Counter[str] = Counter()
        self._left_out: dict[str, str] = {}  # studies that none is to open, and the sentences
        self._last_error: OptunaStudyError | None = None
        self._stopping = False  # the workers were asked to
        self._kill_at = 0.0  # monotonic time, once they were
        self._killed = False  # those that were still at work then
        self._backoff = Backoff()  # of a store that is away
        self._signals: list[int] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._backend.session())
            self._signals = stack.enter_context(record_signals())
            stack.callback(self._stop_all)
            for slot in self._slots:
                slot.process = self._backend.start(slot.task)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def ticks(self, every: float = TICK) -> Iterator[Tick]:
        """Yield a tick every so many seconds until nothing is left to do.

        Ends normally when the budget is met, the task's time is over, or the study is paused or
        stopped from elsewhere.

        Raises:
            InterruptedBySignalError: SIGINT, SIGTERM or SIGHUP; running trials were requeued.
            NothingCompletedError: no trial completed, or too many failed in a row.
            NotFoundError: the study was deleted.
            OptunaStudyError: what the workers ran into, when none can go on.
        """
        end = None if self._task.timeout is None else time.monotonic() + self._task.timeout
        try:
            while any(slot.alive for slot in self._slots):
                self._backend.wait(every)
                self._check(end)
                yield self._tick()
        finally:
            self._open.close()
        self._say_why()
        if self._messages:
            yield self._tick()
        if self._signals:
            raise InterruptedBySignalError(self._signals[0])
        self._raise_if_failed()

    def _tick(self) -> Tick:
        messages, self._messages = tuple(self._messages), []
        views = (
            WorkerView(s.task.name, s.process.pid if s.process else None) for s in self._slots
        )
        return Tick(tuple(views), messages)

    def _receive(self, slot: _Slot) -> None:
        for message in slot.process.receive() if slot.process is not None else ():
            slot.opening = message.text if message.kind is MessageKind.OPENING else None
            if message.kind is MessageKind.OPENED:
                self._opened.add(message.text)
            elif message.kind is MessageKind.DONE:
                slot.outcome = message.text
            elif message.kind is MessageKind.NOTE:
                if message.text not in self._notes:  # every worker finds the same
                    self._messages.append(message.text)
                self._notes.add(message.text)
            elif message.kind is not MessageKind.OPENING:
                self._messages.append(f"{slot.task.name}: {message.text}")
                if message.kind is MessageKind.ERROR:
                    self._last_error = rebuilt(message)

    def _check(self, end: float | None) -> None:
        """Everything a tick may call for: messages, signals, the end of the time, dead workers."""
        for slot in self._slots:
            self._receive(slot)
        if self._signals and not self._stopping:
            name = signal.Signals(self._signals[0]).name
            self._ask_to_stop(f"{name}: giving running trials back")
        if end is not None and time.monotonic() > end and not self._stopping:
            self._ask_to_stop(f"the {self._task.timeout:g} s asked for are over: giving back")
        hurried = len(self._signals) > 1 or time.monotonic() > self._kill_at
        if self._stopping and hurried:
            self._kill_all()
        for slot in self._slots:
            how = slot.process.ended() if slot.process is not None else None
            if how is not None:
                self._reap(slot, how)
            elif slot.death is not None and self._backoff.due:
                self._release_trial(slot, slot.death, last=self._stopping and hurried)
        self._resize()

    def _ask_to_stop(self, why: str | None = None) -> None:
        self._stopping, self._kill_at = True, time.monotonic() + GRACE
        if why is not None:
            self._messages.append(why)
        for slot in self._slots:
            if slot.process is not None:
                slot.process.ask_to_stop()

    def _kill_all(self) -> None:
        self._killed = True
        for slot in self._slots:
            if slot.process is not None and slot.running:
                slot.process.kill()

    def _reap(self, slot: _Slot, how: str, *, last: bool = False) -> None:
        """Close an ended process; when it died, release its trial and start another."""
        assert slot.process is not None
        self._receive(slot)
        out_of_memory = slot.process.ran_out_of_memory()
        slot.process.close()
        slot.process = None
        if slot.outcome is None:
            self._blame(slot, how)
            death = _Death(how, out_of_memory, ordered=self._killed)
            self._release_trial(slot, death, last=last)

    def _blame(self, slot: _Slot, how: str) -> None:
        """Leave a study out, here and in all workers, whose opening kills one after the other."""
        name, slot.opening = slot.opening, None
        if name is None or name in self._opened or self._killed:
            return
        self._deaths_at_opening[name] += 1
        if self._deaths_at_opening[name] != DEATHS_AT_OPENING:
            return
        self._left_out[name] = (
            f"{name}: left out, since the workers that open it die (the last {how}); look at its "
            "pictures and its model"
        )
        for other in self._slots:
            other.task = replace(other.task, left_out=(*other.task.left_out, name))
            if other.process is not None:
                other.process.leave_out(name)
        if self._task.study is None:
            self._messages.append(self._left_out[name])
        else:
            self._ask_to_stop()

    def _release_trial(self, slot: _Slot, death: _Death, *, last: bool) -> None:
        """Requeue a dead worker's trial, or end it if it took all memory; start another worker.

        While the store is away this is put off, unless it is the `last` moment to do so or the
        store has been away for too long: then the lease will run out.
        """
        task, name = self._task, slot.task.name
        slot.death, restart = None, False
        try:
            progress = scheduling.progress(task.store, task.study)
            what = self._end_or_requeue(name, death)
        except UnreachableError as error:
            self._backoff.record_failure()
            if not last and task.store.outage.seconds < MAX_WAIT:
                slot.death = death
                return
            self._last_error = error
            what = f"; a trial of it goes back when its lease has run out: {error}"
        else:
            self._backoff.record_success()
            restart = not self._stopping and self._advances(progress)
        self._messages.append(f"{name} {death.how}{what}; log: {task.log(slot.task)}")
        if restart:
            slot.process = self._backend.start(slot.task)

    def _end_or_requeue(self, name: str, death: _Death) -> str:
        """End or requeue what a dead worker held; the words for it."""
        end, cause, what = None, "", "goes back"
        if death.out_of_memory:
            end = End(EndKind.OUT_OF_MEMORY, SystemOutOfMemory(name))
            cause, what = " for want of memory", "ends as out_of_memory"
        strike = not death.ordered
        done = scheduling.release_worker(self._task.store, name, end=end, strike=strike)
        one = self._task.study is not None
        numbers = ", ".join(f"{number}" if one else f"{number} of {of}" for of, number in done)
        return f"{cause}, trial {numbers} {what}" if done else cause

    def _resize(self) -> None:
        """Follow a backend that grows and shrinks; nobody waits once the study is done."""
        waiting = [s for s in self._slots if s.process is not None and s.process.pid is None]
        if any(slot.outcome is not None for slot in self._slots):
            surplus = len(waiting)
        else:
            room = self._backend.room()
            if room is None or self._stopping:
                return
            # One may wait, however little room there is.
            surplus = sum(slot.alive for slot in self._slots) - max(1, room)
        for slot in waiting[::-1][: max(0, surplus)]:
            assert slot.process is not None
            slot.process.kill()
            slot.process.close()
            self._slots.remove(slot)
        if surplus < 0:
            self._messages.append(f"room for {count(-surplus, 'more worker')}")
        for _ in range(-surplus):
            self._started += 1
            slot = _Slot(numbered(self._task.workers[0], self._started))
            slot.process = self._backend.start(slot.task)
            self._slots.append(slot)

    def _advances(self, progress: int) -> bool:
        """Whether work does though workers die: since the last few deaths a trial got further."""
        self._deaths = 1 if progress > self._progress else self._deaths + 1
        self._progress = progress
        return self._deaths < DEATHS_IN_A_ROW * len(self._slots)

    def _stop_all(self) -> None:
        """Leave no process behind, whatever ended the ticks."""
        if not any(slot.alive for slot in self._slots):
            return
        self._ask_to_stop()
        while time.monotonic() < self._kill_at and any(slot.running for slot in self._slots):
            self._backend.wait(TICK)
            for slot in self._slots:
                self._receive(slot)
        self._kill_all()
        for slot in self._slots:
            if slot.process is not None:
                self._reap(slot, slot.process.ended() or "was killed", last=True)
            elif slot.death is not None:
                self._release_trial(slot, slot.death, last=True)

    def _say_why(self) -> None:
        """Tell of a study that was paused or stopped elsewhere, or of a store without more."""
        outcomes, study = {slot.outcome for slot in self._slots}, self._task.study
        if outcomes == {NoTrialReason.NOTHING_LEFT}:
            self._messages.append(f"{self._task.store.address}: no study has a trial left to run")
            self._messages += retry_until_done(lambda: halted_sentences(self._task.store), _sleep)
        for reason, word in (
            (NoTrialReason.PAUSED, "paused"),
            (NoTrialReason.STOPPING, "stopped"),
        ):
            if study is not None and reason in outcomes:
                self._messages.append(
                    f"{study.name} is {word}, so its workers end; launching it again lets it go on"
                )

    def _raise_if_failed(self) -> None:
        """Say whether anything came of it.

        Raises:
            NothingCompletedError: no trial completed though the study is over, too many failed, or
                opening the only studies there are kills whoever does.
            NotFoundError: the study was deleted.
            DataError: none of the store's studies can be worked on here.
            OptunaStudyError: every worker died of it.
        """
        task, outcomes = self._task, {slot.outcome for slot in self._slots}
        if self._left_out and not self._opened:
            if task.study is not None:
                raise NothingCompletedError(*self._left_out.values())
            names = ", ".join(self._left_out)
            raise NothingCompletedError(f"{task.store.address}: no study beside {names} to run")
        if self._stopping:
            return
        if outcomes == {None}:
            raise self._last_error or NothingCompletedError(
                "workers died again and again before a trial got any further; their logs say more"
                f": {task.log(task.workers[0]).parent}"
            )
        if NoTrialReason.NOT_HERE in outcomes:
            raise DataError(
                f"{task.store.address}: holds trials to run, none of which can be run here: "
                f"{'; '.join(sorted(self._notes))}"
            )
        if (study := task.study) is not None:
            retry_until_done(
                lambda: raise_if_nothing_completed(task.store, study, outcomes), _sleep
            )


def _sleep(seconds: float) -> bool:
    """Wait for the store where nothing but the user's signal can end it, by ending the process."""
    time.sleep(seconds)
    return False
