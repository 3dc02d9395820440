"""The server that worker processes are forked from; imports nothing, so that it starts at once."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

PRELOADED = "optuna_study.worker.preload"
WITH_TIMM = "optuna_study.worker.preload_timm"


def context() -> ForkServerContext:
    """Processes forked from a server that has imported torch and never computed.

    A worker then takes its first step after a fraction of a second instead of after several, and
    shares the pages of the imported modules. Forking a process that has computed would hang: the
    child has none of its OpenMP threads.
    """
    servers = multiprocessing.get_context("forkserver")
    servers.set_forkserver_preload([PRELOADED])
    return servers


def warm(*, timm: bool = False) -> None:
    """Start the server now, so that it imports torch while this process imports the rest.

    With `timm` it imports that, too, which each process otherwise does for itself: a second.
    """
    servers = context()
    from multiprocessing import forkserver

    if timm:
        servers.set_forkserver_preload([PRELOADED, WITH_TIMM])

    forkserver.ensure_running()
