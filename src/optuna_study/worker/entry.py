"""Where a forked worker begins; free of torch until it is entered."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    from optuna_study.worker.messages import Message, Order

PRELOADED = "optuna_study.worker.preload"


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
    from optuna_study.worker.process import serve

    serve(order, control)


def enter_check(answer: Connection[Any, Any], question: str, arguments: dict[str, Any]) -> None:
    """The first function of a process that checks something with torch for the launch."""
    from optuna_study.worker.preflight import respond

    respond(answer, question, arguments)


def enter_probe(control: Connection[Any, Any], *arguments: Any) -> None:
    """The first function of a process that tries out a device for the launch."""
    from optuna_study.worker.probe import respond

    respond(control, *arguments)
