"""How a worker's trials are stopped from outside, between two training steps."""

from __future__ import annotations

import threading
from enum import Enum, auto


class StopReason(Enum):
    """Why a trial is stopped; what becomes of it follows from this."""

    LEAVING = auto()  # the worker leaves: the trial returns to the queue
    STALE = auto()  # another worker owns it: it is left alone
    TIMEOUT = auto()  # its time is over: it ends


class StopSignal:
    """Stops the trial at work, and with LEAVING every later one; threads may share it.

    Of a trial's reasons the first one counts, and of those to leave, too. `event` is what the
    training loop looks at.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.reason: StopReason | None = None
        self.text = ""
        self.leaving_text = ""
        self._leaving = threading.Event()
        self._lock = threading.RLock()  # a signal may interrupt the thread that holds it

    @property
    def leaving(self) -> bool:
        """Whether the worker leaves."""
        return self._leaving.is_set()

    def set(self, reason: StopReason, text: str) -> None:
        """Stop the trial; `text` is a sentence's beginning for the log and the store."""
        with self._lock:
            if reason is StopReason.LEAVING and not self.leaving:
                self.leaving_text = text
            if self.reason is None:
                self.reason, self.text = reason, text
        self.event.set()
        if reason is StopReason.LEAVING:
            self._leaving.set()

    def begin_trial(self) -> None:
        """Forget what stopped the trial before, unless the worker leaves."""
        with self._lock:
            if self.leaving:
                self.reason, self.text = StopReason.LEAVING, self.leaving_text
            else:
                self.event.clear()
                self.reason, self.text = None, ""

    def wait(self, seconds: float) -> bool:
        """Sleep; at once True when the worker leaves, whatever else was set.

        A trial whose time is over still has to be ended, so only this cuts a wait short.
        """
        return self._leaving.wait(seconds)
