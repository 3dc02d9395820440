"""One worker process: claim, work, end, again, until there is nothing left to do.

It ignores SIGINT and SIGHUP, which a terminal sends to everyone: the command that started it
decides. SIGTERM, a word from that command and its death make it stop between two steps and give
its trial back.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from optuna_study.errors import OptunaStudyError, UnreachableError
from optuna_study.search.objective import Left
from optuna_study.search.stop_signal import Brake, Cause
from optuna_study.store.engine.clock import Jumps
from optuna_study.store.engine.retry import retry_until_done
from optuna_study.store.queue import queue
from optuna_study.store.records import NoTrialReason
from optuna_study.store.studies import studies
from optuna_study.text import in_one_line
from optuna_study.worker import trial as sites
from optuna_study.worker.assignment import open_bench
from optuna_study.worker.heartbeat import beating
from optuna_study.worker.messages import Message, Word
from optuna_study.worker.upkeep import enough_without_improvement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from optuna_study.store.records import Claim
    from optuna_study.worker.assignment import Bench
    from optuna_study.worker.messages import Order
    from optuna_study.worker.open_study import Site

log = logging.getLogger(__name__)

T = TypeVar("T")

WAIT = 1.0  # seconds between two looks for a trial when there was none


class Leaving:
    """Whether this worker is to leave; tells the trial it is working on."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._lock = threading.Lock()
        self._brake: Brake | None = None
        self.reason = ""

    def __call__(self, reason: str) -> None:
        """Leave, for a reason that the trial given back will carry."""
        with self._lock:
            self.reason = self.reason or reason
            self._told.set()
            if self._brake is not None:
                self._brake.pull(Cause.LEAVING, self.reason)

    @property
    def told(self) -> bool:
        """Whether it was told to leave."""
        return self._told.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, less when told to leave; whether it was."""
        return self._told.wait(seconds)

    @contextmanager
    def stopping(self, brake: Brake) -> Iterator[None]:
        """While the block runs, being told to leave pulls this brake."""
        with self._lock:
            self._brake = brake
            if self.told:
                brake.pull(Cause.LEAVING, self.reason)
        try:
            yield
        finally:
            with self._lock:
                self._brake = None


def serve(order: Order, control: Connection[Message, Message]) -> None:
    """Be a worker process; says on the pipe how it went."""
    leave = Leaving()
    # A handler may interrupt code that holds a lock of `leave` or of what it tells: another thread
    # does the telling, and this kind of queue is the one that a handler may put into.
    signals: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda got, _: signals.put(got))
    threading.Thread(target=_heed, args=(signals, leave), daemon=True).start()
    threading.Thread(target=_listen, args=(control, leave), daemon=True).start()
    last = last_word(order, leave, lambda message: _say(control, message))
    _say(control, last)
    if last.word is Word.ERROR:
        sys.exit(1)


def last_word(order: Order, leave: Leaving, say: Callable[[Message], None]) -> Message:
    """Work until there is nothing left to do; a message on how it went."""
    try:
        return Message(Word.DONE, work(order, leave, lambda text: say(Message(Word.NOTE, text))))
    except OptunaStudyError as error:
        return Message(Word.ERROR, str(error), type(error).__name__)
    except Exception as error:  # noqa: BLE001 - `work` has written its traceback to the log
        return Message(Word.ERROR, in_one_line(error), OptunaStudyError.__name__)


def _heed(signals: SimpleQueue[int], leave: Leaving) -> None:
    """Leave at the first signal."""
    leave(f"stopped by {signal.Signals(signals.get()).name}")


def _listen(control: Connection[Message, Message], leave: Leaving) -> None:
    """Wait for the word to stop; a pipe that closes is a command that died."""
    try:
        while control.recv().word is not Word.STOP:
            pass
    except (EOFError, OSError):
        leave("its command ended")
    else:
        leave("its command was stopped")


def _say(control: Connection[Message, Message], message: Message) -> None:
    try:
        control.send(message)
    except OSError:
        log.warning("its command is gone, nobody hears: %s", message)


def work(
    order: Order,
    leave: Leaving,
    tell: Callable[[str], None] = log.warning,
    *,
    lease: float = queue.LEASE_SECONDS,
) -> str:
    """Work on an order's trials until there is none to be had; the reason for that.

    `tell` hears sentences for people, such as that a study's pictures are not here.

    Raises:
        NotFoundError: no such study.
        DataError: other pictures than the study was made with.
        OtherVersionError: another version of this package has made the study.
        DeviceError: no such device.
        StoreError: the store cannot be reached.
    """
    bench = open_bench(order, tell)
    try:
        reason = _work_through(bench, leave, lease, forever=order.forever)
        log.info("leaves: %s", reason)
    except OptunaStudyError as error:
        log.error("cannot go on: %s", error)
        raise
    except Exception:
        log.exception("cannot go on")
        raise
    finally:
        bench.close()
    return reason


def _work_through(bench: Bench, leave: Leaving, lease: float, *, forever: bool) -> str:
    jumps = Jumps()
    while not leave.told:
        found = _patiently(lambda: bench.claim(lease, leave.wait), leave)
        if found is None:
            break
        if not isinstance(found, NoTrialReason):
            site, claim = found
            _work_on(site, claim, leave, lease, jumps)
            bench.finished(site, leave.wait)
        elif found is NoTrialReason.BUDGET_TAKEN or (
            forever and found is not NoTrialReason.DELETED
        ):
            leave.wait(WAIT)
        else:
            return found
    return leave.reason


def _patiently(call: Callable[[], T], leave: Leaving) -> T | None:
    """Call until the store answers; None when told to leave before it does."""
    try:
        return retry_until_done(call, leave.wait)
    except UnreachableError:
        if leave.told:
            return None
        raise


def _work_on(site: Site, claim: Claim, leave: Leaving, lease: float, jumps: Jumps) -> None:
    log.info("trial %d%s claimed", claim.number, f" ({claim.baseline})" if claim.baseline else "")
    brake = Brake()
    with (
        leave.stopping(brake),
        beating(
            lambda: queue.renew(site.store, claim, lease),
            brake,
            lease,
            site.definition.search.trial_timeout,
            jumps,
        ),
    ):
        outcome = sites.work_on(site, claim, brake)
    if outcome.left is Left.ENDED:
        _patiently(lambda: _stop_if_hopeless(site), leave)


def _stop_if_hopeless(site: Site) -> None:
    if enough_without_improvement(site) and studies.stop_if_active(site.store, site.study):
        log.info("no improvement for long: the study stops")
