"""The signals by which people and machines end a command."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def listening() -> Iterator[list[int]]:
    """The signals that came meanwhile; what the first and the second mean is the caller's."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python delivers signals to the main thread alone
        return

    def note(number: int, frame: object) -> None:
        received.append(number)

    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.signal(number, note) for number in SIGNALS
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
