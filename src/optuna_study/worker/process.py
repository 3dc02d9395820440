"""A worker process: claim a trial, work on it, again, until there is nothing left to do.

Free of torch until it has begun, since the launch that starts it imports this module.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from optuna_study.errors import OptunaStudyError
from optuna_study.search.objective import Left, run_trial
from optuna_study.search.stop_signal import StopReason, StopSignal
from optuna_study.store.queue import queue
from optuna_study.store.records import NoTrialReason
from optuna_study.text import in_one_line
from optuna_study.worker.messages import Message, MessageKind, WorkerTask, error_message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from multiprocessing.connection import Connection

    from optuna_study.worker.assignment import TrialSource

log = logging.getLogger(__name__)

WAIT = 1.0  # seconds between two looks for a trial when there was none
WAITING = (NoTrialReason.BUDGET_TAKEN, NoTrialReason.WAITS_FOR_OTHERS)


def enter_worker(control: Connection[Message, Message], task: WorkerTask) -> None:
    """The first function of a worker process; says on the pipe how it went.

    It ignores SIGINT and SIGHUP, which a terminal sends to everyone: the command that started it
    decides. SIGTERM, a stop message from that command and its death make the worker stop between
    two steps and requeue its trial.
    """

    def say(message: Message) -> None:
        try:
            control.send(message)
        except OSError:
            log.warning("its command is gone, nobody hears: %s", message)

    stop, left_out = StopSignal(), set(task.left_out)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stop_on_sigterm(stop)
    threading.Thread(target=_listen_to, args=(control, stop, left_out), daemon=True).start()
    last = work(task, stop, say, left_out)
    say(last)
    if last.kind is MessageKind.ERROR:
        sys.exit(1)


def work(
    task: WorkerTask,
    stop: StopSignal,
    say: Callable[[Message], None],
    left_out: Collection[str] = (),
    *,
    lease: float = queue.LEASE_SECONDS,
) -> Message:
    """Work on a task's trials until there is none to be had; the message on how that went.

    `say` gets sentences for people, such as that a study's pictures are not here. Studies
    `left_out`, a collection that may grow, are not opened.
    """
    from optuna_study.worker.assignment import open_trial_source

    source: TrialSource | None = None
    try:
        source = open_trial_source(task, say, left_out)
        while not stop.leaving:
            outcome = run_trial(partial(source.claim, lease, stop), stop)
            if isinstance(outcome, Left):
                source.bring_up_to_date(stop)
            elif outcome in WAITING or (task.forever and outcome is not NoTrialReason.DELETED):
                source.release_memory()
                stop.wait(WAIT)
            elif outcome is not None:
                log.info("leaves: %s", outcome)
                return Message(MessageKind.DONE, outcome)
        log.info("leaves: %s", stop.leaving_text)
        return Message(MessageKind.DONE, stop.leaving_text)
    except OptunaStudyError as error:
        log.error("cannot go on: %s", error)
        return error_message(error)
    except Exception as error:
        log.exception("cannot go on")
        return Message(MessageKind.ERROR, in_one_line(error), OptunaStudyError.__name__)
    finally:
        if source is not None:
            source.close()


def stop_on_sigterm(stop: StopSignal) -> None:
    """Leave at the first SIGTERM.

    Its handler may interrupt code that holds a lock of `stop`: another thread sets that, and this
    kind of queue is the one that a handler may put into.
    """
    signals: SimpleQueue[int] = SimpleQueue()
    signal.signal(signal.SIGTERM, lambda number, _: signals.put(number))

    def listen() -> None:
        stop.set(StopReason.LEAVING, f"stopped by {signal.Signals(signals.get()).name}")

    threading.Thread(target=listen, daemon=True).start()


def _listen_to(
    control: Connection[Message, Message], stop: StopSignal, left_out: set[str]
) -> None:
    """Wait for the stop message; a pipe that closes is a command that died."""
    try:
        while (message := control.recv()).kind is not MessageKind.STOP:
            left_out.add(message.text)
    except (EOFError, OSError):
        stop.set(StopReason.LEAVING, "its command ended")
    else:
        stop.set(StopReason.LEAVING, "its command was stopped")


def enter_check(answer: Connection[Any, Any], question: str, arguments: dict[str, Any]) -> None:
    """The first function of a process that checks something with torch for the launch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launch ends this process when it is ended
    answer.send(answer_to(question, arguments))


def answer_to(question: str, arguments: dict[str, Any]) -> Any:
    """What a check finds, or the error it raises as a message."""
    from optuna_study.worker import preflight

    return preflight.answer(question, arguments)


def enter_probe(control: Connection[Any, Any], *arguments: Any) -> None:
    """The first function of a process that tries out a device for the launch."""
    from optuna_study.worker import preflight

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as above
    preflight.probe(control, *arguments)
