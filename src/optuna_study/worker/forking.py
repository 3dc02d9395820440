"""The server that worker processes are forked from; imports nothing, so that it starts at once."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
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


@contextmanager
def preloading() -> Iterator[None]:
    """What the server imports for all its workers stands in the block.

    Nothing of an import is garbage, and looking for it takes a tenth of the import's time. Nor do
    workers look for it among what was imported: once takes a quarter of a second, and writes to
    pages that they share until then.
    """
    gc.disable()
    try:
        with leaving_with_parent():
            yield
        gc.freeze()
    finally:
        gc.enable()


@contextmanager
def leaving_with_parent(every: float = 0.1) -> Iterator[None]:
    """End this process within `every` seconds of its parent while the block imports something.

    The server looks at its parent only between two imports: of a launch that was refused at once
    it would go on with seconds of them. No thread is left behind, so that it may be forked.
    """
    parent, done = os.getppid(), threading.Event()

    def watch() -> None:
        while not done.wait(every):
            if os.getppid() != parent:
                os._exit(0)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()
