"""A dashboard of ours that listens, and what it answers."""

from __future__ import annotations

import threading
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optuna_study.cli.serving import address, serve
from optuna_study.paths import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def served(stored: Any, folder: Path) -> Iterator[str]:
    """The address of a dashboard without a guard."""
    server = serve(stored.store, Workspace(folder), "127.0.0.1", 0, guard=lambda app: app)
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield address(server)
        server.shutdown()
        thread.join()


def get(url: str, encoding: str = "") -> tuple[bytes, str | None]:
    request = urllib.request.Request(url, headers={"Accept-Encoding": encoding})
    with urllib.request.urlopen(request) as response:
        return response.read(), response.headers["Content-Encoding"]
