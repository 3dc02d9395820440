"""A thread that keeps a trial's lease while its epochs train, and stops it when it is lost."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optuna_study.errors import OptunaStudyError, StaleClaimError, UnreachableError
from optuna_study.search.stop_signal import StopReason, StopSignal
from optuna_study.store.engine.clock import Jumps
from optuna_study.store.engine.retry import Backoff
from optuna_study.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 4  # two in a row may be lost before the lease is


@contextmanager
def keep_lease(
    renew: Callable[[], None],
    stop: StopSignal,
    lease: float,
    timeout: float | None = None,
    jumps: Jumps | None = None,
) -> Iterator[None]:
    """Renew a lease of `lease` seconds while the block runs; after `timeout` it is stopped.

    A jump of the wall clock is said in one line; `jumps` are kept from one block to the next, so
    that one between them, or in a block shorter than a beat, is said, too.

    A store that is away does not end the beating: the lease is renewed as soon as it is back,
    unless it ran out meanwhile and somebody has claimed the trial since.
    """
    jumps = jumps or Jumps()
    _say(jumps.look())
    done = threading.Event()
    thread = threading.Thread(
        target=_beat,
        args=(renew, stop, lease, timeout, jumps, done),
        name="heartbeat",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _beat(
    renew: Callable[[], None],
    stop: StopSignal,
    lease: float,
    timeout: float | None,
    jumps: Jumps,
    done: threading.Event,
) -> None:
    began = time.monotonic()
    beat = pause = lease / BEATS_PER_LEASE
    backoff = Backoff()
    while not done.wait(_until(pause, timeout, began)):
        if timeout is not None and time.monotonic() - began >= timeout:
            stop.set(StopReason.TIMEOUT, f"{timeout:g} s of training were allowed")
            timeout = None
        _say(jumps.look())
        pause = beat
        try:
            renew()
        except StaleClaimError as error:
            stop.set(StopReason.STALE, str(error))
            return
        except UnreachableError:  # the store's outage is logged once, wherever it is met first
            pause = min(beat, backoff.record_failure())
        except OptunaStudyError as error:
            log.warning("lease not renewed: %s", error)
        else:
            backoff.record_success()


def _say(jump: float) -> None:
    if jump:
        where = "ahead" if jump > 0 else "back"
        log.warning(
            "this machine's clock jumped %s %s: it was set, or the machine slept",
            *(duration(abs(jump)), where),
        )


def _until(pause: float, timeout: float | None, began: float) -> float:
    """Seconds to the next beat, or to the time-out if that comes first."""
    if timeout is None:
        return pause
    return max(0.0, min(pause, began + timeout - time.monotonic()))
