"""Workers as processes of this machine, each with a pipe to the launch."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import connection
from typing import TYPE_CHECKING, Self

from optuna_study.launch import ask
from optuna_study.launch.worker_count import choose_sharing, measure, worker_count
from optuna_study.worker import machine
from optuna_study.worker.forking import warm
from optuna_study.worker.machine import KernelKills
from optuna_study.worker.messages import Facts, Message, MessageKind, WorkerTask
from optuna_study.worker.process import enter_worker

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


class LocalProcess:
    """A worker process forked from the server that has imported torch."""

    def __init__(
        self,
        process: ForkServerProcess,
        control: Connection[Message, Message],
        kills: KernelKills,
    ) -> None:
        self.process = process
        self.control: Connection[Message, Message] | None = control
        self.closed = False
        self._kills = kills
        self._killed = False

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self.process.pid

    def receive(self) -> list[Message]:
        """What has come through the pipe."""
        received = []
        while self.control is not None and self.control.poll():
            try:
                received.append(self.control.recv())
            except (EOFError, OSError):
                self._hang_up()
        return received

    def ended(self) -> str | None:
        """Its exit code or its signal in words, None while it lives."""
        code = self.process.exitcode
        if code is None:
            return None
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed it for want of memory."""
        killed = self.process.exitcode == -signal.SIGKILL and not self._killed
        return killed and self._kills.take()

    def ask_to_stop(self) -> None:
        """Send the message."""
        self._send(Message(MessageKind.STOP))

    def leave_out(self, study: str) -> None:
        """Send the message."""
        self._send(Message(MessageKind.LEAVE_OUT, study))

    def kill(self) -> None:
        """SIGKILL."""
        self._killed = True
        self.process.kill()
        self.process.join()

    def close(self) -> None:
        """Free the process table's entry and the pipe."""
        self.process.join()
        self.process.close()
        self._hang_up()
        self.closed = True

    def _send(self, message: Message) -> None:
        if self.control is None:
            return
        try:
            self.control.send(message)
        except OSError:  # it has just ended
            self._hang_up()

    def _hang_up(self) -> None:
        if self.control is not None:
            self.control.close()
            self.control = None


class ThisMachine:
    """Where `launch` runs its workers unless told otherwise."""

    look_around = staticmethod(ask.look_around)
    prove = staticmethod(ask.prove)

    def __init__(self) -> None:
        self._started: list[LocalProcess] = []
        self._kills = KernelKills()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to let go of."""

    def get_ready(self, _address: StoreAddress) -> None:
        """Let the server import torch while the launch reads its study file."""
        warm()

    def count_workers(
        self,
        asked: str | int,
        definition: Definition,
        folder: Path | None,
        workspace: Workspace,
        facts: Facts,
    ) -> int:
        """The number asked for, or what cores, memory and measured GPUs allow."""
        cores = machine.cores()
        count = worker_count(asked, definition.config.train.threads, facts, cores)
        if asked != "auto" or facts.device == "cpu":
            return count
        return count * choose_sharing(
            lambda copies: measure(copies, definition, folder, workspace, facts.device),
            cores // count,
        )

    def session(self) -> AbstractContextManager[None]:
        """Nothing to arrange."""
        return nullcontext()

    def start(self, task: WorkerTask) -> LocalProcess:
        """Fork a worker."""
        process = LocalProcess(*ask.fork(enter_worker, task, name=task.name), self._kills)
        self._started.append(process)
        return process

    def wait(self, seconds: float) -> None:
        """Sleep, less when a pipe has something or a process ends."""
        self._started = [process for process in self._started if not process.closed]
        watched: list[Connection[Message, Message] | int] = []
        for process in self._started:
            if process.ended() is None:
                watched.append(process.process.sentinel)
            if process.control is not None:
                watched.append(process.control)
        connection.wait(watched, timeout=seconds)
        self._kills.look()

    def room(self) -> None:
        """It has the room it was prepared for."""
