"""Signals that end a command, raised in this process."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from optuna_study.errors import InterruptedBySignalError
from optuna_study.launch.signals import ending_signals, interruptible, record_signals

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP as a terminal's programs have it; the tests themselves may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
def test_signals_are_collected_and_their_handlers_put_back() -> None:
    with record_signals() as received:
        for number in ending_signals():
            signal.raise_signal(number)
    assert received == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.usefixtures("hangup")
def test_under_nohup_a_terminal_that_closes_ends_nothing() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with record_signals() as received, interruptible("nothing was done"):
        signal.raise_signal(signal.SIGHUP)
    assert received == []


@pytest.mark.usefixtures("hangup")
def test_the_first_signal_breaks_off_and_the_second_lets_it_clear_away() -> None:
    def work() -> None:
        with interruptible("nothing was done"):
            try:
                signal.raise_signal(signal.SIGHUP)
            finally:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(InterruptedBySignalError, match="by SIGHUP; nothing was done"):
        work()


@pytest.mark.usefixtures("hangup")
def test_who_is_past_breaking_off_is_not_disturbed() -> None:
    with interruptible("nothing was done") as go_on:
        go_on()
        for number in ending_signals():
            signal.raise_signal(number)
