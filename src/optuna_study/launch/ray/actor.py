"""A worker inside a Ray actor; free of torch and of Ray, since the launch names it as well.

The task, with the store's URL in it, comes as an argument of a call, never on a command line.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from typing import Any

from optuna_study.errors import OptunaStudyError
from optuna_study.launch import worker_count
from optuna_study.search.stop_signal import StopReason, StopSignal
from optuna_study.worker.messages import Message, WorkerTask, error_message
from optuna_study.worker.process import stop_on_sigterm, work


@dataclass(frozen=True)
class News:
    """What a worker has said since it was last asked."""

    pid: int
    messages: tuple[Message, ...]
    lines: tuple[tuple[int, str], ...]  # of its log, each with its level


class Actor:
    """Works in one thread, while others answer `news` and `stop`."""

    def __init__(self) -> None:
        self._stop = StopSignal()
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._lines: list[tuple[int, str]] = []
        self._over = False
        stop_on_sigterm(self._stop)  # Ray sends it to a node's processes when the node is stopped
        logging.getLogger("optuna_study").addHandler(_Lines(self))

    def work(self, task: WorkerTask) -> Message:
        """Work until there is nothing left to do; the message on how it went."""
        last = work(task, self._stop, self.say)
        with self._changed:
            self._over = True
            self._changed.notify_all()
        return last

    def stop(self, reason: str) -> None:
        """Requeue the running trial and leave."""
        self._stop.set(StopReason.LEAVING, reason)

    def news(self, patience: float) -> News:
        """What was said since the last call; waits for it so many seconds."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._messages or self._lines or self._over, timeout=patience
            )
            news = News(os.getpid(), tuple(self._messages), tuple(self._lines))
            self._messages.clear()
            self._lines.clear()
        return news

    def say(self, message: Message) -> None:
        """Keep a message for the next call of `news`."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify()

    def note_line(self, level: int, text: str) -> None:
        """Keep a line of the log for the next call of `news`."""
        with self._changed:
            self._lines.append((level, text))
            self._changed.notify()


class _Lines(logging.Handler):
    """Hands each record's first line to the actor; the whole of it is in the worker's own file."""

    def __init__(self, actor: Actor) -> None:
        super().__init__(logging.INFO)
        self._actor = actor

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        self._actor.note_line(record.levelno, record.getMessage().partition("\n")[0])


def measure(copies: int, arguments: dict[str, Any]) -> Any:
    """How copies of a configuration share the GPU that Ray gave this process, or the error."""
    try:
        return worker_count.measure(copies, **arguments)
    except OptunaStudyError as error:
        return error_message(error)
