"""A store that does not answer for a while: who waits how long, and the lines said about it."""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from optuna_study.errors import InTheWayError, OptunaStudyError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

MAX_WAIT = (
    900.0  # seconds: a server is upgraded, a disk cleared within; after it somebody must act
)
FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 10.0  # what an outage may cost on top of its own length

T = TypeVar("T")


class Outage:
    """Whether something needed is away; logs one line when it goes and one when it is back.

    Threads may share it. A failure before the first success is not an outage: whoever opens a
    store is told at once. What fails to write is back only when a write succeeds: a SQLite file on
    a full disk can still be read.
    """

    def __init__(
        self, what: str, clock: Callable[[], float] = time.monotonic, *, reached: bool = False
    ) -> None:
        self._what = what
        self._clock = clock
        self._lock = threading.Lock()
        self._reached = reached
        self._since: float | None = None
        self._writing = False
        self._cut = False

    @property
    def seconds(self) -> float:
        """How long it has been away, 0 when it is not."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def record_failure(self, error: OptunaStudyError, *, writing: bool = True) -> None:
        """It just did not answer; another transaction in the way is an answer."""
        with self._lock:
            if not self._reached or isinstance(error, InTheWayError):
                return
            self._writing, self._cut = self._writing or writing, False
            if self._since is not None:
                return
            self._since = self._clock()
        log.warning("%s is away, trying again and again: %s", self._what, error)

    def record_success(self, *, writing: bool = True) -> None:
        """It just answered."""
        with self._lock:
            self._reached = True
            cut, self._cut = self._cut, False
            seconds = self.seconds
            away = self._since is not None
            back = away and (writing or not self._writing)
            if back:
                self._since, self._writing = None, False
        if back:
            log.warning("%s is back after %.0f s", self._what, seconds)
        elif cut and not away:
            log.warning("the connection to %s was cut; there is a new one", self._what)

    def record_cut(self) -> None:
        """A connection was found dead; that is said if a new one works at once."""
        with self._lock:
            self._cut = True

    @contextmanager
    def watch(self, *, writing: bool) -> Iterator[None]:
        """Notice how the block ends."""
        try:
            yield
        except UnreachableError as error:
            self.record_failure(error, writing=writing)
            raise
        self.record_success(writing=writing)


@dataclass
class Backoff:
    """When to try again what failed: each pause is twice the one before, up to `LONGEST_PAUSE`.

    Pauses vary, so that many workers do not come back at the same moment.
    """

    clock: Callable[[], float] = time.monotonic
    _pause: float = field(default=FIRST_PAUSE, init=False)
    _next: float | None = field(default=None, init=False)

    @property
    def due(self) -> bool:
        """Whether it may be tried now."""
        return self._next is None or self.clock() >= self._next

    def record_failure(self) -> float:
        """It failed; the seconds until it may be tried again."""
        pause = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._next = self.clock() + pause
        return pause

    def record_success(self) -> None:
        """It succeeded; the next failure begins anew."""
        self._pause, self._next = FIRST_PAUSE, None


def retry_until_done(
    call: Callable[[], T],
    wait: Callable[[float], bool],
    *,
    passing: type[OptunaStudyError] = UnreachableError,
    max_wait: float = MAX_WAIT,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Call until it succeeds; `wait` sleeps so many seconds and says whether to give up instead.

    `call` must do no harm when it succeeded and nobody heard of it.

    Raises:
        OptunaStudyError: the last failure of kind `passing`, after `max_wait` seconds of them or
            when told to give up; any other failure at once.
    """
    backoff, began = Backoff(clock), clock()
    while True:
        try:
            return call()
        except passing:
            if clock() - began >= max_wait or wait(backoff.record_failure()):
                raise
