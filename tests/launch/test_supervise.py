"""The crew of a backend that grows and shrinks, with processes that only pretend."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from launching import run_ticks

from optuna_study.errors import InterruptedBySignalError, UnreachableError
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.launch.task import AnyTask, StudyTask, Task
from optuna_study.store.engine.connection import Store
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, End, EndKind, NoTrialReason, TrialState
from optuna_study.store.studies.budget import set_budget
from optuna_study.worker.messages import Message, MessageKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress
    from optuna_study.worker.messages import WorkerTask


class FakeProcess:
    """A process that begins when a test gives it a number, and ends when a test says so."""

    def __init__(self, task: WorkerTask) -> None:
        self.task = task
        self.pid: int | None = None
        self.end: str | None = None
        self.said: list[Message] = []
        self.told: list[str] = []
        self.stubborn = False  # in the middle of a very long step

    def receive(self) -> list[Message]:
        said, self.said = self.said, []
        return said

    def ended(self) -> str | None:
        return self.end

    def ran_out_of_memory(self) -> bool:
        return False

    def ask_to_stop(self) -> None:
        self.told.append("stop")
        self.end = None if self.stubborn else "ended"

    def leave_out(self, study: str) -> None:
        self.told.append(f"leave out {study}")

    def die_opening(self, study: str) -> None:
        self.pid = 1
        self.said.append(Message(MessageKind.OPENING, study))
        self.end = "was killed by SIGSEGV"

    def kill(self) -> None:
        self.told.append("kill")
        self.end = "was killed"

    def close(self) -> None:
        self.told.append("close")

    def finish(self) -> None:
        self.said.append(Message(MessageKind.DONE, NoTrialReason.PAUSED))
        self.end = "ended"


class FakeBackend:
    """A backend whose room a test sets."""

    def __init__(self, room: int | None) -> None:
        self.space = room
        self.started: list[FakeProcess] = []

    def get_ready(self, address: StoreAddress) -> None: ...
    def look_around(self, device: str) -> Any: ...
    def prove(self, *arguments: Any) -> Any: ...
    def count_workers(self, *arguments: Any) -> int:
        return 2

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def start(self, task: WorkerTask) -> FakeProcess:
        self.started.append(FakeProcess(task))
        return self.started[-1]

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))  # a launch that waits for something keeps no core busy

    def room(self) -> int | None:
        return self.space


@pytest.fixture
def prepared(tmp_path: Path, study_text: str, warm_workspace: Workspace) -> Iterator[StudyTask]:
    (tmp_path / "tiny.toml").write_text(study_text)
    request = LaunchRequest(
        str(tmp_path / "tiny.toml"), profile="cpu", workspace=warm_workspace, workers=2
    )
    ready = prepare(request)
    yield ready
    ready.store.close()


@dataclass(frozen=True)
class Switched(Store):
    """A store that a test switches off."""

    off: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        if self.off.is_set():
            error = UnreachableError("the store cannot be reached")
            self.outage.record_failure(error)
            raise error
        with super().write(durable=durable) as connection:
            yield connection


@pytest.mark.slow
def test_a_worker_of_a_whole_store_says_which_studies_failures_stopped(
    prepared: StudyTask,
) -> None:
    set_budget(prepared.store, prepared.study, 5)
    for _ in range(5):
        claim = queue.claim(prepared.store, prepared.study, "w1")
        assert isinstance(claim, Claim)
        queue.end(prepared.store, claim, End(EndKind.FAILED, "ValueError: no"))
    joined: AnyTask = Task(prepared.store, None, prepared.workspace, prepared.workers[:1])
    backend = FakeBackend(None)
    ticks = run_ticks(joined, backend)
    next(ticks)
    backend.started[0].said.append(Message(MessageKind.DONE, NoTrialReason.NOTHING_LEFT))
    backend.started[0].end = "ended"
    assert [message for tick in ticks for message in tick.messages] == [
        f"{prepared.store.address.url}: no study has a trial left to run",
        "tiny@cpu: too many trials failed in a row, 2 trials left to run; `optuna-study "
        "resume tiny@cpu` lets it go on",
    ]


def switched(prepared: StudyTask) -> tuple[StudyTask, threading.Event]:
    store = prepared.store
    ours = Switched(store.address, store.engine, store.reader, outage=store.outage)
    return replace(prepared, store=ours), ours.off


@pytest.mark.slow
def test_a_death_while_the_store_is_away_is_seen_to_when_it_is_back(prepared: StudyTask) -> None:
    task, off = switched(prepared)
    backend = FakeBackend(None)
    ticks = run_ticks(task, backend)
    next(ticks)
    first = backend.started[0]
    first.pid = 1
    claim = queue.claim(prepared.store, prepared.study, first.task.name)
    assert isinstance(claim, Claim)
    off.set()
    first.end = "was killed by SIGKILL"
    for _ in range(3):
        assert next(ticks).messages == ()
    assert len(backend.started) == 2  # no other worker is started while it would find no store
    assert prepared.store.outage.seconds > 0
    off.clear()
    said: list[str] = []
    while not said:
        said += next(ticks).messages
    assert said[0].startswith(f"{first.task.name} was killed by SIGKILL, trial 0 goes back")
    assert len(backend.started) == 3
    assert reads.trial(prepared.store, prepared.study, 0).state is TrialState.WAITING
    for process in backend.started[1:]:
        process.finish()
    list(ticks)


@pytest.mark.slow
def test_a_second_signal_ends_the_wait_for_a_store(prepared: StudyTask) -> None:
    task, off = switched(prepared)
    backend = FakeBackend(None)
    ticks = run_ticks(task, backend)
    next(ticks)
    for number, process in enumerate(backend.started, 1):
        process.pid = number
        claim = queue.claim(prepared.store, prepared.study, process.task.name)
        assert isinstance(claim, Claim)
    off.set()
    backend.started[0].end = "was killed by SIGKILL"
    assert next(ticks).messages == ()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    said: list[str] = []
    with pytest.raises(InterruptedBySignalError):
        said.extend(message for tick in ticks for message in tick.messages)
    away = [line for line in said if "goes back when its lease has run out" in line]
    assert len(away) == 2
    assert len(backend.started) == 2


@pytest.mark.slow
def test_a_worker_killed_for_being_slow_to_stop_costs_its_trial_no_strike(
    prepared: StudyTask,
) -> None:
    backend = FakeBackend(None)
    ticks = run_ticks(prepared, backend)
    next(ticks)
    slow = backend.started[0]
    slow.pid, slow.stubborn = 1, True
    assert isinstance(queue.claim(prepared.store, prepared.study, slow.task.name), Claim)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(InterruptedBySignalError):
        list(ticks)
    assert "kill" in slow.told
    trial = reads.trial(prepared.store, prepared.study, 0)
    assert (trial.state, trial.strikes) == (TrialState.WAITING, 0)


def test_a_crew_grows_and_shrinks_with_its_backend(prepared: StudyTask) -> None:
    backend = FakeBackend(2)
    ticks = run_ticks(prepared, backend)
    assert len(next(ticks).workers) == 2
    first, second = backend.started
    first.pid, second.pid = 1, 2
    backend.space = 3
    tick = next(ticks)
    assert tick.messages == ("room for 1 more worker",)
    assert len({worker.name for worker in tick.workers}) == 3
    third = backend.started[2]
    assert third.task.study == first.task.study

    backend.space = 2  # the third never began, and nobody waits for room that is gone
    assert [worker.pid for worker in next(ticks).workers] == [1, 2]
    assert third.told == ["kill", "close"]

    backend.space, second.end = 1, "died with its node"
    tick = next(ticks)
    assert [worker.pid for worker in tick.workers] == [1]
    assert tick.messages[0].startswith(f"{second.task.name} died with its node; log: ")

    backend.space = 0  # those at work are left alone, whatever the nodes say
    assert [worker.pid for worker in next(ticks).workers] == [1]
    first.finish()
    assert next(ticks).workers[0].pid is None
    assert "is paused" in next(ticks).messages[0]
    assert list(ticks) == []
    assert first.told == ["close"]


@pytest.mark.slow
def test_nobody_waits_for_room_when_the_study_is_over(prepared: StudyTask) -> None:
    backend = FakeBackend(None)
    ticks = run_ticks(prepared, backend)
    next(ticks)
    working, waiting = backend.started
    working.pid = 1
    working.finish()
    assert list(ticks)
    assert waiting.told == ["kill", "close"]
    assert len(backend.started) == 2


@pytest.mark.slow
def test_what_a_worker_says_is_passed_on_with_its_name(prepared: StudyTask) -> None:
    backend = FakeBackend(None)
    ticks = run_ticks(prepared, backend)
    next(ticks)
    for each in backend.started:
        each.said.append(Message(MessageKind.SAID, "resumes elsewhere"))
    assert next(ticks).messages == tuple(
        f"{each.task.name}: resumes elsewhere" for each in backend.started
    )
    ticks.close()
    assert [each.told for each in backend.started] == [["stop", "close"]] * 2


def test_a_study_that_kills_whoever_opens_it_is_left_out_of_a_store(prepared: StudyTask) -> None:
    backend = FakeBackend(None)
    ticks = run_ticks(Task(prepared.store, None, prepared.workspace, prepared.workers), backend)
    next(ticks)
    first, second = backend.started
    first.die_opening("bad@cpu")
    assert len(next(ticks).messages) == 1  # that it died
    backend.started[2].die_opening("bad@cpu")
    said = next(ticks).messages
    assert said[0].startswith(
        "bad@cpu: left out, since the workers that open it die (the last was"
    )
    assert second.told == ["leave out bad@cpu"]
    assert backend.started[3].task.left_out == ("bad@cpu",)
    second.said.append(Message(MessageKind.OPENED, "good@cpu"))
    for process in (second, backend.started[3]):
        process.said.append(Message(MessageKind.DONE, NoTrialReason.NOTHING_LEFT))
        process.end = "ended"
    assert [message for tick in ticks for message in tick.messages] == [
        f"{prepared.store.address.url}: no study has a trial left to run"
    ]


def test_a_study_that_others_have_opened_is_no_killer(prepared: StudyTask) -> None:
    backend = FakeBackend(None)
    ticks = run_ticks(prepared, backend)
    next(ticks)
    backend.started[1].said.append(Message(MessageKind.OPENED, "tiny@cpu"))
    for number in (0, 2, 3):
        backend.started[number].die_opening("tiny@cpu")
        next(ticks)
    assert len(backend.started) == 5
    ticks.close()
