"""A worker inside a Ray actor; free of torch and of Ray, since the launch names it as well.

The order, with the store's URL in it, comes as an argument of a call, never on a command line.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna_study.worker.messages import Message, Word

if TYPE_CHECKING:
    from optuna_study.worker.messages import Order


@dataclass(frozen=True)
class News:
    """What a worker has said since it was last asked."""

    pid: int
    messages: tuple[Message, ...]
    lines: tuple[tuple[int, str], ...]  # of its log, each with its level


class Actor:
    """Works in one thread, while others answer `news` and `stop`."""

    def __init__(self) -> None:
        from optuna_study.worker.process import Leaving

        self._leave = Leaving()
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._lines: list[tuple[int, str]] = []
        self._over = False
        # Ray sends it to a node's processes when the node is stopped.
        signal.signal(signal.SIGTERM, lambda *_: self._leave("stopped by SIGTERM"))
        logging.getLogger("optuna_study").addHandler(_Lines(self))

    def work(self, order: Order) -> Message:
        """Work until there is nothing left to do; the last word on how it went."""
        from optuna_study.worker.process import last_word

        last = last_word(order, self._leave, self.say)
        with self._changed:
            self._over = True
            self._changed.notify_all()
        return last

    def stop(self, reason: str) -> None:
        """Give the running trial back and leave."""
        self._leave(reason)

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


def answer(question: str, arguments: dict[str, Any]) -> Any:
    """What a check of a launch finds on the node where this runs, or the error as a message."""
    from optuna_study.worker.preflight import answer_to

    return answer_to(question, arguments)


def measure(copies: int, arguments: dict[str, Any]) -> Any:
    """How copies of a configuration share the GPU that Ray gave this process, or the error."""
    from optuna_study.errors import OptunaStudyError
    from optuna_study.launch import gpu_sharing

    try:
        return gpu_sharing.measure(copies, **arguments)
    except OptunaStudyError as error:
        return Message(Word.ERROR, str(error), type(error).__name__)
