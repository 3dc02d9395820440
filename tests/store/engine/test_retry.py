from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.errors import InTheWayError, StoreError, StoreFullError, UnreachableError
from optuna_study.store.engine.retry import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MAX_WAIT,
    Backoff,
    Outage,
    retry_until_done,
)

if TYPE_CHECKING:
    from collections.abc import Callable

AWAY = UnreachableError("postgresql://db/x: cannot be reached")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "optuna_study")
    return lambda: [record.getMessage() for record in caplog.records]


def test_an_outage_is_two_lines_however_often_it_is_met(
    clock: Any, said: Callable[[], list[str]]
) -> None:
    outage = Outage("the store", clock)
    outage.record_success()
    for _ in range(20):
        outage.record_failure(AWAY)
        clock.now += 1
    assert outage.seconds == 20
    outage.record_success()
    outage.record_success()
    assert outage.seconds == 0
    assert said() == [
        "the store is away, trying again and again: postgresql://db/x: cannot be reached",
        "the store is back after 20 s",
    ]


def test_a_connection_that_was_cut_between_two_uses_is_one_line(
    clock: Any, said: Callable[[], list[str]]
) -> None:
    outage = Outage("the store", clock)
    outage.record_success()
    outage.record_cut()
    outage.record_success(writing=False)
    outage.record_success()
    assert said() == ["the connection to the store was cut; there is a new one"]


def test_a_connection_that_was_cut_by_an_outage_is_no_further_line(
    clock: Any, said: Callable[[], list[str]]
) -> None:
    outage = Outage("the store", clock)
    outage.record_success()
    for _ in range(2):
        outage.record_cut()
        outage.record_failure(AWAY)
    outage.record_success(writing=False)
    outage.record_cut()
    outage.record_success()
    assert len(said()) == 2


def test_another_transaction_in_the_way_is_no_outage(
    clock: Any, said: Callable[[], list[str]]
) -> None:
    outage = Outage("the store", clock)
    outage.record_success()
    with pytest.raises(InTheWayError), outage.watch(writing=True):
        raise InTheWayError("postgresql://db/x: another transaction was in the way")
    assert outage.seconds == 0
    assert said() == []


def test_what_was_never_there_is_not_away(clock: Any, said: Callable[[], list[str]]) -> None:
    outage = Outage("the store", clock)
    outage.record_failure(AWAY)
    assert outage.seconds == 0
    assert said() == []


def test_a_full_disk_is_not_over_because_it_can_be_read(
    clock: Any, said: Callable[[], list[str]]
) -> None:
    outage = Outage("the store", clock)
    outage.record_success(writing=False)
    for _ in range(3):
        outage.record_failure(StoreFullError("no space left"), writing=True)
        outage.record_success(writing=False)
        clock.now += 1
    outage.record_success(writing=True)
    outage.record_failure(AWAY, writing=False)
    outage.record_success(writing=False)
    assert [line.partition(":")[0] for line in said()] == [
        "the store is away, trying again and again",
        "the store is back after 3 s",
        "the store is away, trying again and again",
        "the store is back after 0 s",
    ]


@pytest.mark.parametrize(("error", "lines"), [(StoreError("is damaged"), 0), (AWAY, 1)])
def test_only_what_may_pass_is_an_outage(
    clock: Any, said: Callable[[], list[str]], error: StoreError, lines: int
) -> None:
    outage = Outage("the store", clock)
    with outage.watch(writing=True):
        clock.now += 1
    with pytest.raises(StoreError), outage.watch(writing=True):
        Flaky(1, error)()
    assert len(said()) == lines


def test_pauses_grow_to_their_limit_and_begin_anew(clock: Any) -> None:
    backoff = Backoff(clock)
    due = [backoff.due]
    pauses = [backoff.record_failure() for _ in range(8)]
    assert FIRST_PAUSE / 2 <= pauses[0] <= FIRST_PAUSE
    assert LONGEST_PAUSE / 2 <= pauses[-1] <= LONGEST_PAUSE
    due.append(backoff.due)
    clock.now += LONGEST_PAUSE
    due.append(backoff.due)
    backoff.record_success()
    assert due == [True, False, True]
    assert backoff.due
    assert backoff.record_failure() <= FIRST_PAUSE


class Flaky:
    """Fails so many times, then succeeds."""

    def __init__(self, failures: int, error: Exception = AWAY) -> None:
        self.left, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "done"


def sleeper(clock: Any) -> Callable[[float], bool]:
    def wait(seconds: float) -> bool:
        clock.now += seconds
        return False

    return wait


def test_patience_ends_in_success(clock: Any) -> None:
    call = Flaky(10)
    assert retry_until_done(call, sleeper(clock), clock=clock) == "done"
    assert call.calls == 11


def test_patience_has_an_end(clock: Any) -> None:
    began, call = clock.now, Flaky(10**9)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        retry_until_done(call, sleeper(clock), clock=clock)
    assert MAX_WAIT <= clock.now - began <= MAX_WAIT + LONGEST_PAUSE


def test_being_told_to_leave_ends_it(clock: Any) -> None:
    call = Flaky(10)
    with pytest.raises(UnreachableError):
        retry_until_done(call, lambda _: True, clock=clock)
    assert call.calls == 1


def test_what_will_not_pass_is_raised_at_once(clock: Any) -> None:
    call = Flaky(10, StoreError("is damaged"))
    with pytest.raises(StoreError, match="damaged"):
        retry_until_done(call, sleeper(clock), clock=clock)
    assert call.calls == 1
