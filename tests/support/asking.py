"""A request to a WSGI application in this process."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def ask(
    application: WSGIApplication, method: str = "GET", path: str = "/", **headers: str
) -> tuple[int, Any, str]:
    """The status of a request, the headers of its answer, and the body."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "HTTP_HOST": "127.0.0.1:8080"}
    environ["PATH_INFO"], _, environ["QUERY_STRING"] = path.partition("?")
    environ |= {"wsgi.input": io.BytesIO(), **headers}
    setup_testing_defaults(environ)
    answers: list[tuple[str, list[tuple[str, str]]]] = []
    body = b"".join(application(environ, lambda *given: answers.append(given)))  # type: ignore[arg-type]
    status, found = answers[0]
    return int(status[:3]), dict(found), body.decode()
