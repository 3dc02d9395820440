from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import html5lib
import pytest
from asking import ask

from optuna_study.cli.guard import COOKIE, Guard
from optuna_study.cli.studies_page import StudiesPage
from optuna_study.store.queue import queue
from optuna_study.store.records import Claim, EndKind, NoTrialReason, StudyState
from optuna_study.store.studies.studies import find_study

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

TOKEN = "a-token-that-is-the-same-in-every-process-of-a-test-run"
INSIDE = {"HTTP_COOKIE": f"{COOKIE}={TOKEN}"}
SPACE = "{http://www.w3.org/1999/xhtml}"


def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"inside"]


@pytest.fixture
def guard(stored_study: Any) -> Guard:
    return Guard(StudiesPage(app, stored_study.store), token=TOKEN)


def buttons(guard: Guard, **headers: str) -> dict[str, str]:
    """What the page's buttons say and where they lead; the page is valid and cannot be framed."""
    code, found, text = ask(guard, path="/studies", **headers)
    assert code == 200
    assert "frame-ancestors 'none'" in found["Content-Security-Policy"]
    tree = html5lib.HTMLParser(strict=True).parse(text)
    forms = tree.iter(f"{SPACE}form")
    assert "small" in text
    return {
        str(form.find(f"{SPACE}button").text): str(form.get("action"))
        for form in forms
        if form.get("method") == "post"
    }


def test_whoever_has_the_token_steers_a_study_from_the_page(
    stored_study: Any, guard: Guard
) -> None:
    store, study = stored_study.store, stored_study.study
    found = buttons(guard, **INSIDE)
    assert list(found) == ["Pause", "Stop"]
    code, headers, _ = ask(guard, "POST", found["Pause"], **INSIDE)
    assert (code, headers["Location"]) == (303, "/studies")
    assert queue.claim(store, study, "w") is NoTrialReason.PAUSED
    found = buttons(guard, **INSIDE)
    assert list(found) == ["Resume"]
    ask(guard, "POST", found["Resume"], **INSIDE)
    assert isinstance(queue.claim(store, study, "w"), Claim)
    ask(guard, "POST", buttons(guard, **INSIDE)["Stop"], **INSIDE)
    assert find_study(store, "small").state is StudyState.STOPPING  # type: ignore[union-attr]


def test_a_study_that_failures_stopped_may_be_resumed_and_one_that_is_done_not(
    stored_study: Any, guard: Guard
) -> None:
    for _ in range(5):
        stored_study.run([0.5], EndKind.FAILED, reason="ValueError: no")
    assert list(buttons(guard, **INSIDE)) == ["Resume"]
    ask(guard, "POST", buttons(guard, **INSIDE)["Resume"], **INSIDE)
    stored_study.run([0.5])
    assert buttons(guard, **INSIDE) == {}


def test_nobody_else_steers_anything(stored_study: Any, guard: Guard) -> None:
    path = f"/studies/{stored_study.study.uuid}/pause"
    assert buttons(guard) == {}
    assert "--allow-write" in ask(guard, path="/studies")[2]
    closed = Guard(StudiesPage(app, stored_study.store))
    foreign = [
        INSIDE | {"HTTP_ORIGIN": "http://evil.example"},
        INSIDE | {"HTTP_SEC_FETCH_SITE": "cross-site"},
        INSIDE | {"HTTP_HOST": "evil.example"},
        {},
    ]
    answers = [ask(guard, "POST", path, **headers) for headers in foreign]
    answers.append(ask(closed, "POST", path, **INSIDE))
    assert [code for code, _, _ in answers] == [403] * 5
    assert all(json.loads(body)["reason"] for _, _, body in answers)
    assert ask(guard, path=path, **INSIDE)[2] == "inside"  # to read it changes nothing
    assert find_study(stored_study.store, "small").state is StudyState.ACTIVE  # type: ignore[union-attr]


def test_what_is_gone_or_away_is_said(unsteady: Any, guard: Guard) -> None:
    gone = f"/studies/{'0' * 36}/stop"
    assert ask(guard, "POST", gone, **INSIDE)[0] == 404
    unsteady.away = True
    code, _, text = ask(StudiesPage(app, unsteady.store), path="/studies")
    assert (code, "disk I/O error" in text) == (503, True)
