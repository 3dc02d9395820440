"""optuna-dashboard on our store, inside this process: its URL stands in no process's arguments.

Around it our own pages: what it says more of studies, `/studies`, `/health` and `/metrics`.
"""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna_study.cli.guard import Guard
from optuna_study.errors import UsageError
from optuna_study.launch.signals import ending_signals

if TYPE_CHECKING:
    from collections.abc import Callable
    from wsgiref.types import WSGIApplication

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store


SOCKET_SECONDS = 60.0  # that a client may take for its next bytes


def serve(
    store: Store,
    workspace: Workspace,
    host: str,
    port: int,
    *,
    guard: Callable[..., WSGIApplication] = Guard,
) -> WSGIServer:
    """A server that listens, behind a guard; the caller tells its address and serves.

    Raises:
        UsageError: nothing can listen there; told before anything large is imported.
    """
    server = listening(None, host, port)
    try:
        server.set_app(guard(_application(store, workspace)))
    except BaseException:
        server.server_close()
        raise
    return server


def _application(store: Store, workspace: Workspace) -> WSGIApplication:
    from optuna.artifacts import FileSystemArtifactStore
    from optuna_dashboard import wsgi

    from optuna_study.cli.monitoring import Monitoring
    from optuna_study.cli.studies_page import StudiesPage
    from optuna_study.cli.study_details import (
        StudyDetails,
        leave_out_of_best,
        read_without_trial_notes,
    )
    from optuna_study.cli.trial_figures import TrialFigures
    from optuna_study.store.engine.optuna_bridge import optuna_storage

    artifacts = FileSystemArtifactStore(str(workspace.artifacts))
    storage = optuna_storage(store)
    read_without_trial_notes(storage)
    leave_out_of_best(storage, store)
    app = wsgi(storage, artifact_store=artifacts)
    pages = StudiesPage(StudyDetails(app, store, workspace), store)
    figures = TrialFigures(pages, store, workspace)
    return Monitoring(figures, store)


def serve_until_told(server: WSGIServer) -> None:
    """Answer requests until Ctrl-C, or until SIGTERM or SIGHUP end the program with code 143.

    The first process of a container ignores a signal that it has no handler for.
    """
    for number in ending_signals():
        if number is not signal.SIGINT:
            signal.signal(number, lambda *_: sys.exit(128 + signal.SIGTERM))
    with server:
        server.serve_forever()


def listening(app: Any, host: str, port: int) -> WSGIServer:
    """A threaded server of a WSGI application; port 0 takes a free one.

    Raises:
        UsageError: nothing can listen there.
    """
    server_class = _IPv6Server if ":" in host else _Server
    try:
        return make_server(host, port, app, server_class, _QuietHandler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{host}:{port}: cannot listen there ({reason}); choose another --port or --host"
        ) from error


def address(server: WSGIServer) -> str:
    """The address to open in a browser."""
    host, port = server.server_address[:2]
    name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host name or address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request: a slow plot holds up no page, and none outlives the server."""

    daemon_threads = True


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    """A handler that does not write a line for every request, and waits for no silent client."""

    timeout = SOCKET_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Leave the request out of the log."""
