from __future__ import annotations

import threading

import pytest

from optuna_study.errors import StaleClaimError, StoreError, UnreachableError
from optuna_study.search.stop_signal import StopReason, StopSignal
from optuna_study.store.engine.clock import Jumps
from optuna_study.worker.heartbeat import keep_lease

PATIENCE = 30.0  # seconds before a test gives up; none takes a hundredth of that


def test_the_lease_is_renewed_while_the_block_runs() -> None:
    beats, enough = [], threading.Event()

    def renew() -> None:
        beats.append(True)
        if len(beats) == 3:
            enough.set()

    stop = StopSignal()
    with keep_lease(renew, stop, lease=0.02):
        assert enough.wait(PATIENCE)
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())
    assert stop.reason is None


def test_a_lost_lease_stops_the_trial() -> None:
    def renew() -> None:
        raise StaleClaimError("trial 7 is no longer this worker's")

    stop = StopSignal()
    with keep_lease(renew, stop, lease=0.02):
        assert stop.event.wait(PATIENCE)
    assert (stop.reason, stop.text) == (StopReason.STALE, "trial 7 is no longer this worker's")


@pytest.mark.parametrize(
    ("jump", "said"), [(3600.0, "jumped 1 h 0 min ahead"), (-90.0, "jumped 1 min 30 s back")]
)
def test_a_clock_that_was_set_is_said_in_one_line(
    caplog: pytest.LogCaptureFixture, jump: float, said: str
) -> None:
    beats, enough = [], threading.Event()
    wall = [1_800_000_000.0]

    def renew() -> None:
        beats.append(True)
        if len(beats) == 1:
            wall[0] += jump
        if len(beats) == 4:
            enough.set()

    stop = StopSignal()
    with keep_lease(renew, stop, lease=0.02, jumps=Jumps(lambda: wall[0], lambda: 0.0)):
        assert enough.wait(PATIENCE)
    assert stop.reason is None
    assert caplog.messages == [f"this machine's clock {said}: it was set, or the machine slept"]


def test_a_clock_that_was_set_before_a_block_without_a_beat_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wall = [0.0]
    jumps = Jumps(lambda: wall[0], lambda: 0.0)
    wall[0] = 60.0
    with keep_lease(lambda: None, StopSignal(), lease=1000.0, jumps=jumps):
        pass
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("kind", [UnreachableError, StoreError])
def test_a_store_that_is_away_for_a_moment_does_not(kind: type[StoreError]) -> None:
    tries, back = [], threading.Event()

    def renew() -> None:
        tries.append(True)
        if len(tries) == 4:
            back.set()
        if len(tries) < 4:
            raise kind("cannot be reached")

    stop = StopSignal()
    with keep_lease(renew, stop, lease=0.02):
        assert back.wait(PATIENCE)
    assert stop.reason is None


def test_the_trials_time_is_kept_within_a_long_epoch() -> None:
    stop = StopSignal()
    with keep_lease(lambda: None, stop, lease=1000.0, timeout=0.05):
        assert stop.event.wait(PATIENCE)
    assert (stop.reason, stop.text) == (StopReason.TIMEOUT, "0.05 s of training were allowed")


def test_the_first_cause_counts() -> None:
    stop = StopSignal()
    stop.set(StopReason.STALE, "lost")
    stop.set(StopReason.LEAVING, "stopped")
    assert (stop.reason, stop.text) == (StopReason.STALE, "lost")


def test_a_worker_that_leaves_stops_its_trial_and_any_later_one() -> None:
    stop = StopSignal()
    stop.begin_trial()
    stop.set(StopReason.LEAVING, "stopped by SIGTERM")
    stop.set(StopReason.LEAVING, "the launch ended")
    assert (stop.reason, stop.text) == (StopReason.LEAVING, "stopped by SIGTERM")
    stop.begin_trial()
    assert stop.event.is_set()
    assert (stop.reason, stop.text) == (StopReason.LEAVING, "stopped by SIGTERM")
    assert stop.wait(PATIENCE)  # returns at once
    assert stop.leaving


def test_what_stopped_one_trial_stops_no_other() -> None:
    stop = StopSignal()
    stop.set(StopReason.TIMEOUT, "25 s of training were allowed")
    stop.begin_trial()
    assert not stop.event.is_set()
    assert (stop.reason, stop.text, stop.leaving) == (None, "", False)


def test_a_worker_that_leaves_while_a_trial_is_over_says_why_it_left() -> None:
    stop = StopSignal()
    stop.set(StopReason.TIMEOUT, "25 s of training were allowed")
    stop.set(StopReason.LEAVING, "stopped by SIGTERM")
    assert stop.reason is StopReason.TIMEOUT
    assert (stop.leaving, stop.leaving_text) == (True, "stopped by SIGTERM")
