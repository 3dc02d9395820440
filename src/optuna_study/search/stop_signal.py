"""How a running trial is stopped from outside, between two training steps."""

from __future__ import annotations

import threading
from enum import Enum, auto


class Cause(Enum):
    """Why a trial is stopped; what becomes of it follows from this."""

    LEAVING = auto()  # the worker leaves: the trial goes back
    STALE = auto()  # another worker owns it: it is left alone
    TIMEOUT = auto()  # its time is over: it ends


class Brake:
    """A stop that carries its cause; the first one pulled counts. Threads may share it.

    `event` is what the training loop looks at.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._lock = threading.RLock()  # a signal may interrupt the thread that holds it
        self._leaving = threading.Event()
        self._cause: Cause | None = None
        self._reason = ""

    def pull(self, cause: Cause, reason: str) -> None:
        """Stop the trial; `reason` is a sentence's beginning for the log and the store."""
        with self._lock:
            if self._cause is None:
                self._cause, self._reason = cause, reason
        self.event.set()
        if cause is Cause.LEAVING:
            self._leaving.set()

    def wait(self, seconds: float) -> bool:
        """Sleep; at once True when the worker leaves, whatever was pulled before.

        A trial whose time is over still has to be ended, so only this cuts a wait short.
        """
        return self._leaving.wait(seconds)

    @property
    def cause(self) -> Cause | None:
        """Why it was pulled, or None."""
        return self._cause

    @property
    def reason(self) -> str:
        """The sentence given with the cause."""
        return self._reason
