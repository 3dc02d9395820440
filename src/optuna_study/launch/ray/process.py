"""A worker in a Ray actor, as the launch sees it."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from optuna_study.worker.messages import Message, MessageKind, WorkerTask

if TYPE_CHECKING:
    from optuna_study.launch.ray.actor import News

log = logging.getLogger(__name__)

WAIT = 10.0  # seconds that a question for news waits in an actor for something to tell
LAST_NEWS = 2.0  # seconds an ended actor's news may take to arrive


class ActorProcess:
    """A worker in an actor, as the launch sees it."""

    def __init__(self, ray: Any, handle: Any, task: WorkerTask) -> None:
        self._ray = ray
        self._handle = handle
        self._name = task.name
        self._work: Any = handle.work.remote(task)
        self._news: Any = handle.news.remote(0.0)
        self._last: list[Message] = []
        self._end: str | None = None
        self._out_of_memory = False
        self.pid: int | None = None

    @property
    def awaited(self) -> list[Any]:
        """Calls that have not been answered."""
        if self._end is not None:
            return []
        return [self._work] if self._news is None else [self._work, self._news]

    def receive(self) -> list[Message]:
        """What it has told; its log's warnings are told as well, other lines go to ours."""
        received: list[Message] = []
        while self._news is not None and self._is_there(self._news):
            received += self._take_news()
        last, self._last = self._last, []
        return received + last

    def ended(self) -> str | None:
        """How it ended, as far as Ray knows."""
        if self._end is None and self._is_there(self._work):
            try:
                self._last.append(self._ray.get(self._work))
                self._end = "ended"
                if self._news is not None:
                    self._is_there(self._news, LAST_NEWS)
            except self._ray.exceptions.RayError as error:
                self._end = cause_of_death(str(error))
                self._out_of_memory = is_out_of_memory(str(error))
        return self._end

    def ran_out_of_memory(self) -> bool:
        """Whether Ray ended it for its node's want of memory.

        Whom a node's kernel killed for it is not known here.
        """
        return self._out_of_memory

    def ask_to_stop(self) -> None:
        """Ask; one that has not begun is not waited for."""
        if self.pid is None:
            self.kill()
        else:
            self._handle.stop.remote("the launch was stopped")

    def leave_out(self, study: str) -> None:
        """Nothing: a launch's workers have one study, and are stopped where none can open it."""

    def kill(self) -> None:
        """Let Ray end its process, or no longer look for room for it."""
        self._ray.kill(self._handle)
        self._is_there(self._work, WAIT)
        self._end = "was killed"

    def close(self) -> None:
        """Let the process go: idle actors stay, and one out of reach may not be dead."""
        self._ray.kill(self._handle)
        self._news = None

    def _is_there(self, reference: Any, seconds: float = 0.0) -> bool:
        return bool(self._ray.wait([reference], timeout=seconds)[0])

    def _take_news(self) -> list[Message]:
        try:
            news: News = self._ray.get(self._news)
        except self._ray.exceptions.RayError:  # `ended` says why
            self._news = None
            return []
        self._news = self._handle.news.remote(WAIT)
        self.pid = news.pid
        told = list(news.messages)
        for level, text in news.lines:
            log.debug("%s: %s", self._name, text)
            if level == logging.WARNING:
                told.append(Message(MessageKind.SAID, text))
        return told


def cause_of_death(text: str) -> str:
    """Ray's paragraph on an actor's death in a few words.

    >>> cause_of_death("The actor died because its node has died. Node Id: 3f the")
    'died with its node'
    >>> cause_of_death("its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit")
    'died (SYSTEM_ERROR)'
    """
    if "its node has died" in text:
        return "died with its node"
    found = re.search(r"Worker exit type: (\w+)", text)
    return f"died ({found[1]})" if found else f"died: {' '.join(text.split())[:200]}"


def is_out_of_memory(text: str) -> bool:
    """Whether Ray's memory monitor ended an actor.

    >>> is_out_of_memory("Worker exit type: NODE_OUT_OF_MEMORY Worker exit detail: ...")
    True
    >>> is_out_of_memory("Worker exit type: SYSTEM_ERROR Worker exit detail: ...")
    False
    """
    return "NODE_OUT_OF_MEMORY" in text or "running low on memory" in text
