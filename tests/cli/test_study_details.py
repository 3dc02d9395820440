"""What our dashboard's server tells of a study, beside what optuna-dashboard alone would tell."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from dashboards import get, served

from optuna_study.actions.exclude import exclude, include
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.records import Claim, Confirmation, End, EndKind
from optuna_study.store.studies.dashboard_notes import PART, write_note
from optuna_study.store.studies.studies import set_confirmation

if TYPE_CHECKING:
    from pathlib import Path


def put(url: str, body: dict[str, Any]) -> int:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, content, headers, method="PUT")
    try:
        with urllib.request.urlopen(request) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_details_have_the_metric_figures_and_the_notes_of_trials(
    stored_study: Any, tmp_path: Path
) -> None:
    stored_study.run([0.5, 0.6])
    stored_study.run([0.2], EndKind.DIVERGED, reason="non_finite: the loss is nan")
    long = "é" * (PART + 7)
    write_note(stored_study.store, stored_study.study, long, trial_id=1)
    with served(stored_study, tmp_path) as base:
        url = f"{base}api/studies/{stored_study.study.study_id}"
        details = json.loads(get(url)[0])
        assert details["objective_names"] == ["validation accuracy"]
        assert details["trials"][0]["note"] == {"version": 1, "body": long}
        assert details["best_trials"][0]["note"]["body"] == long
        assert details["trials"][1]["note"] == {"version": 0, "body": ""}
        assert details["trials"][1]["constraints"] == [1.0]
        facts = {each["key"]: each["value"] for each in details["user_attrs"]}
        assert facts["data"] == "rendered"
        assert facts["trials"].startswith("2 of 6 trials ended")
        assert facts["versions"] == "torch 2.14.1"
        figures = {each["id"]: each["graph_object"] for each in details["plotly_graph_objects"]}
        assert list(figures) == ["ends", "curves", "schedules", "baselines", "trial"]
        assert json.loads(figures["trial"])["data"][2]["y"] == [0.5, 0.6]
        exclude(stored_study.store, stored_study.study, [0], "wrong pictures")
        marked = json.loads(get(url)[0])
        assert marked["trials"][0]["constraints"] == [1.0]
        attribute = {"key": "excluded", "value": "wrong pictures"}
        assert attribute in marked["trials"][0]["user_attrs"]
        include(stored_study.store, stored_study.study, [0])
        assert json.loads(get(url)[0])["trials"][0]["constraints"] == []
        stored_study.run([0.7, 0.9])
        again = json.loads(get(f"{url}?after=2")[0])
        figures = {each["id"]: each["graph_object"] for each in again["plotly_graph_objects"]}
        assert json.loads(figures["trial"])["data"][2]["y"] == [0.7, 0.9]
        packed, encoding = get(url, "gzip, deflate")
        assert encoding == "gzip"
        assert json.loads(gzip.decompress(packed))["name"] == "small"


def test_two_objectives_have_names_directions_and_their_own_front(
    weighed_study: Any, tmp_path: Path
) -> None:
    store, study = weighed_study.store, weighed_study.study
    set_confirmation(store, study, Confirmation(1, 1))
    claim = queue.claim(store, study, "host-1-001")
    assert isinstance(claim, Claim)
    assert claim.confirms == 2
    end = End(EndKind.COMPLETED, "all 3 epochs", 0.99, second_value=10_000.0)
    queue.end(store, claim, end)
    with served(weighed_study, tmp_path) as base:
        details = json.loads(get(f"{base}api/studies/{study.study_id}")[0])
        assert details["directions"] == ["maximize", "minimize"]
        assert details["objective_names"] == ["validation accuracy", "parameters"]
        assert [each["number"] for each in details["best_trials"]] == [1, 2, 3]
        values = {each["number"]: each.get("values") for each in details["trials"]}
        assert values[3] == [0.915, 1000.0]
        assert not values[5]  # pruned


@pytest.mark.slow
def test_a_note_begun_on_an_earlier_version_is_still_refused(
    stored_study: Any, tmp_path: Path
) -> None:
    stored_study.run([0.5])
    write_note(stored_study.store, stored_study.study, "ours", trial_id=1)
    with served(stored_study, tmp_path) as base:
        url = f"{base}api/studies/{stored_study.study.study_id}"
        get(url)
        assert put(f"{url}/1/note", {"version": 2, "body": "theirs"}) == 204
        assert json.loads(get(url)[0])["trials"][0]["note"] == {"version": 2, "body": "theirs"}
        assert put(f"{url}/1/note", {"version": 2, "body": "late"}) == 409


@pytest.mark.slow
def test_a_study_of_plain_optuna_is_told_as_it_is(stored_study: Any, tmp_path: Path) -> None:
    storage = optuna_storage(stored_study.store)
    plain = optuna.create_study(study_name="plain", storage=storage)
    plain.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with served(stored_study, tmp_path) as base:
        details = json.loads(get(f"{base}api/studies/{plain._study_id}")[0])
        assert "objective_names" not in details
        assert details["plotly_graph_objects"] == []
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{base}api/studies/99")
