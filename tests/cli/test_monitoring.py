from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from asking import ask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from optuna_study.cli.guard import Guard
from optuna_study.cli.monitoring import Monitoring, metrics
from optuna_study.store.reads.status import StudyStatus, study_statuses
from optuna_study.store.records import EndKind
from optuna_study.store.schema import own_trials

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment


def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"inside"]


def read(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by metric and the values of their labels, as Prometheus' own parser reads them."""
    found: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            name = sample.name.removeprefix("optuna_study_")
            found[name][tuple(sample.labels.values())] = sample.value
    return found


@pytest.mark.slow
def test_metrics_say_what_a_store_has(stored_study: Any) -> None:
    stored_study.run([0.5])
    stored_study.run([0.5], EndKind.FAILED, reason="ValueError: no")
    stored_study.start([0.5])
    claim = stored_study.start([0.5])
    with stored_study.store.write() as connection:
        lost = own_trials.c.number == claim.number
        connection.execute(update(own_trials).where(lost).values(lease_until=1.0, owner="gone"))
    code, headers, text = ask(Guard(Monitoring(app, stored_study.store)), path="/metrics")
    assert (code, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = read(text)
    states = {"waiting": 0, "running": 2, "complete": 1, "pruned": 0, "fail": 1}
    assert found["trials"] == {("small", state): amount for state, amount in states.items()}
    assert found["trials_left"] == {("small",): 4}
    assert (found["workers"], found["lost_trials"]) == ({("small",): 1}, {("small",): 1})
    [status] = study_statuses(stored_study.store)
    assert found["last_end_timestamp_seconds"] == {("small",): status.last_end}
    assert found["last_failure_timestamp_seconds"] == {("small",): status.last_failure}
    assert status.last_failure == status.last_end


def test_names_of_any_kind_are_read_back_and_unknown_times_have_no_line() -> None:
    odd = 'a"b\\c\nd ü'
    found = read(metrics([StudyStatus(odd, {}, 3, 0, 0, None, None)]))
    assert found["trials_left"] == {(odd,): 3}
    assert "last_end_timestamp_seconds" not in found


def test_a_store_without_studies_has_metrics_too(stored_study: Any) -> None:
    assert read(metrics([])) == {}
    assert ask(Monitoring(app, stored_study.store), path="/other")[2] == "inside"


@pytest.mark.parametrize("path", ["/health", "/metrics"])
@pytest.mark.slow
def test_a_store_that_is_away_is_unhealthy_and_comes_back(unsteady: Any, path: str) -> None:
    monitoring = Guard(Monitoring(app, unsteady.store))
    assert ask(monitoring, path=path)[0] == 200
    unsteady.away = True
    code, _, text = ask(monitoring, path=path)
    assert (code, json.loads(text)["status"]) == (503, "unreachable")
    assert "disk I/O error" in json.loads(text)["reason"]
    unsteady.away = False
    code, _, text = ask(monitoring, path="/health")
    assert (code, json.loads(text)) == (200, {"status": "ok"})
    assert ask(monitoring, "HEAD", "/health")[::2] == (200, "")


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_monitors_come_by_a_name_of_the_servers(stored_study: Any, path: str) -> None:
    guard = Guard(Monitoring(app, stored_study.store), frozenset({"lab.example"}))
    assert ask(guard, path=path, HTTP_HOST="lab.example:8080")[0] == 200
    assert ask(guard, path=path, HTTP_HOST="evil.example")[0] == 403
    assert ask(guard, "POST", path)[0] == 403
