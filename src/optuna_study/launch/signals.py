"""The signals by which people and machines end a command."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optuna_study.errors import InterruptedBySignalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that end a command; no SIGHUP under `nohup`, which ignores it for us."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def record_signals() -> Iterator[list[int]]:
    """The signals that came meanwhile; what the first and the second mean is the caller's."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)

    with _handled(note):
        yield received


@contextmanager
def interruptible(left: str) -> Iterator[Callable[[], None]]:
    """Let the first signal break the block off, and further ones not disturb its clean-up.

    Once the function that it yields is called, none breaks it off any more. `left` says how things
    then stand.

    Raises:
        InterruptedBySignalError: SIGINT, SIGTERM or SIGHUP.
    """
    ignoring = False

    def ignore() -> None:
        nonlocal ignoring
        ignoring = True

    def interrupt(number: int, frame: object) -> None:
        if not ignoring:
            ignore()
            raise InterruptedBySignalError(number, left)

    with _handled(interrupt):
        yield ignore


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread alone
        return
    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.signal(number, handler) for number in ending_signals()
    }
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
