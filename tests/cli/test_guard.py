from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from asking import ask

from optuna_study.cli.guard import COOKIE, LONGEST_BODY, NO_TOKEN, READ_ONLY, Guard, new_token

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

TOKEN = "a-token-that-is-the-same-in-every-process-of-a-test-run"
WRITES = ("POST", "PUT", "DELETE", "PATCH")


def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"inside"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "localhost", "LOCALHOST:80", "[::1]:8080", "10.0.0.7", "lab.example:1"],
)
def test_its_own_names_may_read(host: str) -> None:
    assert ask(Guard(app, frozenset({"lab.example"})), HTTP_HOST=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "lab.example.evil.example", "127.0.0.1.evil.example", "", "[::1", "::1"],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_foreign_name_that_points_here_finds_nothing(host: str, method: str) -> None:
    guard = Guard(app, frozenset({"lab.example"}), TOKEN)
    code, _, body = ask(guard, method, HTTP_HOST=host, HTTP_COOKIE=f"{COOKIE}={TOKEN}")
    assert code == 403
    assert "--allowed-host adds one" in json.loads(body)["reason"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999"])
def test_another_sites_page_is_refused_whatever_it_asks(origin: str) -> None:
    for method in ("GET", "POST"):
        cookie = f"{COOKIE}={TOKEN}"
        answer = ask(Guard(app, token=TOKEN), method, HTTP_ORIGIN=origin, HTTP_COOKIE=cookie)
        assert answer[0] == 403
    own = ask(Guard(app), HTTP_ORIGIN="http://127.0.0.1:8080")
    assert own[0] == 200


@pytest.mark.parametrize("method", WRITES)
def test_nothing_changes_unless_that_was_asked_for(method: str) -> None:
    code, _, body = ask(Guard(app), method, HTTP_COOKIE=f"{COOKIE}=")
    assert (code, json.loads(body)) == (403, {"reason": READ_ONLY})


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    "cookie", ["", f"{COOKIE}=", f"{COOKIE}={TOKEN[:-1]}", "a;b=\x00", f"x={TOKEN}"]
)
def test_changing_needs_the_token(method: str, cookie: str) -> None:
    guard = Guard(app, token=TOKEN)
    code, _, body = ask(guard, method, HTTP_COOKIE=cookie)
    assert (code, json.loads(body)) == (403, {"reason": NO_TOKEN})
    assert ask(guard, method, HTTP_COOKIE=f"{COOKIE}={TOKEN}")[0] == 200
    foreign = {"HTTP_COOKIE": f"{COOKIE}={TOKEN}", "HTTP_SEC_FETCH_SITE": "cross-site"}
    assert ask(guard, method, **foreign)[0] == 403


def test_the_address_with_the_token_becomes_a_cookie_that_no_page_reads() -> None:
    guard = Guard(app, token=TOKEN)
    code, headers, body = ask(guard, path=f"/dashboard/?token={TOKEN}")
    assert (code, headers["Location"], body) == (303, "/dashboard/", "")
    assert headers["Set-Cookie"] == f"{COOKIE}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert ask(guard, path="/?token=wrong")[1].get("Set-Cookie") is None
    assert ask(Guard(app), path="/?token=")[2] == "inside"


@pytest.mark.parametrize("length", [str(LONGEST_BODY + 1), "-1", "many"])
def test_a_request_larger_than_any_dashboard_sends_is_not_read(length: str) -> None:
    guard, cookie = Guard(app, token=TOKEN), f"{COOKIE}={TOKEN}"
    assert ask(guard, "POST", HTTP_COOKIE=cookie, CONTENT_LENGTH=length)[0] == 403


def test_a_token_is_in_no_print() -> None:
    assert TOKEN not in repr(Guard(app, token=TOKEN))
    assert len({new_token() for _ in range(100)}) == 100
