"""What a launch and its workers tell each other; free of torch, the launch stays small.

Everything here travels through a pipe: no store URL ever stands among a process's arguments.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import optuna_study.errors
from optuna_study.errors import OptunaStudyError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

PRELOADED = "optuna_study.workers.preload"


@dataclass(frozen=True)
class Order:
    """One worker's task: run trials of a study, or of a whole store, until there are none left."""

    url: str
    workspace: Path
    device: str
    name: str = ""  # owner of its claims and stem of its log files; `deal` gives it
    study: str | None = None  # None for every active study of the store
    folder: Path | None = None  # pictures to look at first
    forever: bool = False  # wait for more when none are left
    tensorboard: Path | None = None  # folder of event files, where they are wanted


def numbered(order: Order, number: int) -> Order:
    """The same task for a further worker of the same launch."""
    stem, _, _ = order.name.rpartition("-")
    return replace(order, name=f"{stem}-{number:03d}")


class Word(StrEnum):
    """The words on the pipe between a launch and a worker."""

    STOP = "stop"  # to the worker: give the trial back and leave
    SAID = "said"  # from it, a sentence for people about this worker
    NOTE = "note"  # from it, a sentence for people that others may say, too
    DONE = "done"  # from it, with the reason: nothing left to do
    ERROR = "error"  # from it, with an error's class and message: it cannot go on


@dataclass(frozen=True)
class Message:
    """One message on the pipe."""

    word: Word
    text: str = ""
    error_class: str = ""


def rebuilt(message: Message) -> OptunaStudyError:
    """The error that a message carries, with the class and exit code it had where it arose."""
    found = getattr(optuna_study.errors, message.error_class, None)
    kind = OptunaStudyError
    if isinstance(found, type) and issubclass(found, OptunaStudyError):
        kind = found
    error = kind.__new__(kind)  # some classes are made from other arguments than their message
    error.args = (message.text,)
    return error


def context() -> ForkServerContext:
    """Processes forked from a server that has imported torch and never computed.

    A worker then takes its first step after a fraction of a second instead of after several, and
    shares the pages of the imported modules. Forking a process that has computed would hang: the
    child has none of its OpenMP threads.
    """
    servers = multiprocessing.get_context("forkserver")
    servers.set_forkserver_preload([PRELOADED])
    return servers


def warm() -> None:
    """Start the server now, so that it imports torch while the launch reads its study file."""
    context()
    from multiprocessing import forkserver

    forkserver.ensure_running()


def enter_worker(order: Order, control: Connection[Message, Message]) -> None:
    """The first function of a worker process."""
    from optuna_study.workers.worker import serve

    serve(order, control)


def enter_check(answer: Connection[Any, Any], question: str, arguments: dict[str, Any]) -> None:
    """The first function of a process that checks something with torch for the launch."""
    from optuna_study.workers.preflight import respond

    respond(answer, question, arguments)


def enter_probe(control: Connection[Any, Any], *arguments: Any) -> None:
    """The first function of a process that tries out a device for the launch."""
    from optuna_study.workers.probe import respond

    respond(control, *arguments)
