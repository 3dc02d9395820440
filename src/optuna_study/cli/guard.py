"""Who may ask the dashboard for what: it has no login, and any page in a browser can reach it.

Reading needs a Host that is meant for this server, so that a foreign name that was pointed at this
machine (DNS rebinding) finds nothing. Changing needs a token besides, which no other page knows.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

COOKIE = "optuna_study_token"
READING = ("GET", "HEAD", "OPTIONS")
HTML, JSON = "text/html; charset=utf-8", "application/json"  # kinds of answers
MAY_WRITE = "optuna_study.may_write"  # in a request's environ: whether it came with the token
LONGEST_BODY = 64 * 2**20  # bytes: a note with a picture fits, no request fills the memory

READ_ONLY = "this dashboard only shows; start it with --allow-write to change studies in it"
NO_TOKEN = "open the address with the token that `dashboard --allow-write` has printed, then retry"


def new_token() -> str:
    """A token that nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Guard:
    """A WSGI application that lets through to `app` what may be asked of it."""

    app: WSGIApplication
    hosts: frozenset[str] = field(default_factory=frozenset)  # besides addresses, localhost
    token: str | None = field(default=None, repr=False)  # None: nothing can be changed

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or refuse it with 403 and the reason as optuna-dashboard shows it."""
        refusal = self._refuse(environ)
        if refusal is not None:
            return answer(start_response, "403 Forbidden", JSON, json.dumps({"reason": refusal}))
        if self.token is not None and environ["REQUEST_METHOD"] == "GET":
            given = parse_qs(environ.get("QUERY_STRING", "")).get("token", [""])[0]
            if given and _equal(given, self.token):
                return _let_in(environ, start_response, self.token)
        knows = self.token is not None and _equal(_cookie(environ), self.token)
        environ[MAY_WRITE] = knows  # for pages that show what may be done
        return self.app(environ, start_response)

    def _refuse(self, environ: WSGIEnvironment) -> str | None:
        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        if not self._is_ours(host):
            return f"'{host[:80]}' is not a name of this dashboard; --allowed-host adds one"
        if origin is not None and urlsplit(origin).netloc != host:
            return f"asked for by a page of {origin[:80]}, which is not this dashboard's"
        if environ["REQUEST_METHOD"] in READING:
            return None
        if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in ("same-origin", "none"):
            return "asked for by a page of another site"
        if self.token is None:
            return READ_ONLY
        if not _equal(_cookie(environ), self.token):
            return NO_TOKEN
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > LONGEST_BODY:
            return f"a request of {length[:20]} bytes is larger than any that a dashboard sends"
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server: no attacker's name points at an address."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _let_in(
    environ: WSGIEnvironment, start_response: StartResponse, token: str
) -> Iterable[bytes]:
    """Keep the token as a cookie that pages cannot read, and leave it out of the address."""
    start_response(
        "303 See Other",
        [
            ("Location", environ.get("PATH_INFO") or "/"),
            ("Set-Cookie", f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        ],
    )
    return []


def _cookie(environ: WSGIEnvironment) -> str:
    try:
        found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def answer(
    start_response: StartResponse,
    status: str,
    kind: str,
    text: str,
    *headers: tuple[str, str],
) -> Iterable[bytes]:
    """Answer a request with a text of a kind, such as HTML."""
    body = text.encode()
    always = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(status, [*always, *headers])
    return [body]
