"""What plain Optuna, its command line and its dashboard make of our studies."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from sqlalchemy import func, select, text

from optuna_study.errors import StaleClaimError, StoreError
from optuna_study.store.engine import optuna_bridge
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, End, EndKind, PlannedTrial, StoredParameter
from optuna_study.store.schema import own_epochs, own_studies, own_trials
from optuna_study.store.studies import studies

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, StudyRecord

ELU = StoredParameter(
    "activation",
    1.0,
    '{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "elu", "tanh"]}}',
)


def take(store: Store, study: StudyRecord) -> Claim:
    claim = queue.claim(store, study, "w1")
    assert isinstance(claim, Claim), claim
    return claim


@pytest.fixture
def filled(
    store: Store, make_study: Any, planned: Any, clock: Any, epoch: Callable[..., EpochRecord]
) -> StudyRecord:
    """A study with one trial of each end, one running and one waiting."""
    study: StudyRecord = make_study(store, planned=(planned("relu", width=2),))
    ends = [
        End(EndKind.COMPLETED, "all epochs", 0.5, attributes={"loss": math.nan}),
        End(EndKind.COMPLETED, "all epochs", 0.75),
        End(EndKind.PRUNED, "rung 2"),
        End(EndKind.DIVERGED, "non_finite"),
        End(EndKind.FAILED, "ValueError: no", traceback="Traceback"),
    ]
    for end in ends:
        claim = take(store, study)
        queue.report(store, claim, [epoch(1, 0.9), epoch(2, math.nan), epoch(3, math.inf)])
        clock.now += 10
        queue.end(store, claim, end, [epoch(4, 0.6)])
    take(store, study)
    queue.release(store, take(store, study), "SIGTERM")
    return study


def test_optuna_reads_every_trial(filled: StudyRecord, plain: Any) -> None:
    trials = plain(filled.name).trials
    assert [trial.state.name for trial in trials] == [
        "COMPLETE",
        "COMPLETE",
        "PRUNED",
        "PRUNED",
        "FAIL",
        "RUNNING",
        "WAITING",
    ]
    assert [trial.value for trial in trials] == [0.5, 0.75, 0.6, 0.6, None, None, None]
    assert trials[0].params == {"lr": 0.01}
    assert trials[0].user_attrs == {
        "baseline": "relu",
        "group": "activation",
        "fixed": {"width": 2},
        "end": "completed",
        "reason": "all epochs",
        "loss": "nan",
    }
    reports = trials[0].intermediate_values
    assert (reports[1], reports[3], reports[4]) == (0.9, math.inf, 0.6)
    assert math.isnan(reports[2])
    assert [trial.constraints for trial in trials[2:4]] == [{}, {"0": 1.0, "infeasible": 1.0}]
    assert trials[0].duration is not None
    assert trials[0].duration.total_seconds() == 10


def test_optuna_finds_the_same_best_trial(store: Store, filled: StudyRecord, plain: Any) -> None:
    study = plain(filled.name)
    best = reads.best(store, filled)
    assert best is not None
    assert (study.best_trial.number, study.best_value) == (best.number, best.value) == (1, 0.75)
    assert study.direction.name == "MAXIMIZE"


@pytest.mark.slow
def test_optuna_s_commands_read_our_studies(filled: StudyRecord, url: str) -> None:
    def optuna_says(*arguments: str) -> Any:
        done = subprocess.run(
            [Path(sys.executable).parent / "optuna", *arguments, "--storage", url, "-f", "json"],
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout)

    assert optuna_says("best-trial", "--study-name", filled.name)["value"] == 0.75
    trials = optuna_says("trials", "--study-name", filled.name)
    assert [trial["number"] for trial in trials] == list(range(7))


def test_a_claimed_trial_suggests_what_is_stored_and_draws_the_rest(
    store: Store, make_study: Any
) -> None:
    rate = StoredParameter(
        "lr", 0.01, '{"name": "FloatDistribution", "attributes": {"low": 0.001, "high": 1.0}}'
    )
    baseline = PlannedTrial("elu", "activation", (rate, ELU), {})
    study = make_study(store, planned=(baseline,))
    storage = optuna_storage(store)
    sampler = optuna.samplers.RandomSampler(seed=1)
    first = take(store, study)
    draft = optuna_bridge.Draft(storage, study, sampler, first)
    trial = draft.trial
    assert trial.suggest_float("lr", 0.001, 1.0) == 0.01
    assert trial.suggest_categorical("activation", ["relu", "elu", "tanh"]) == "elu"
    dropout = trial.suggest_float("dropout", 0.0, 1.0)
    assert "dropout" not in reads.trial(store, study, 0).parameters
    queue.write_parameters(store, first, draft.parameters, draft.attributes)
    queue.release(store, first, "SIGTERM")
    second = take(store, study)
    draft = optuna_bridge.Draft(storage, study, sampler, second)
    again = draft.trial
    assert again.suggest_float("lr", 0.001, 1.0) == 0.01
    assert again.suggest_float("dropout", 0.0, 1.0) == dropout
    assert again.suggest_int("width", 1, 64) in range(1, 65)
    queue.write_parameters(store, second, draft.parameters, draft.attributes)
    stored = reads.trial(store, study, 0).parameters
    assert list(stored) == ["lr", "activation", "dropout", "width"]
    assert stored["activation"] == "elu"
    assert isinstance(stored["width"], int)


@pytest.mark.slow
def test_tpe_keeps_away_from_infeasible_trials(
    sqlite_store: Store, make_study: Any, epoch: Callable[..., EpochRecord]
) -> None:
    """Diverging pays best here; only the stored constraint can keep the sampler from it."""
    study = make_study(sqlite_store, budget=60)
    storage = optuna_storage(sqlite_store)
    late = []
    for number in range(40):
        claim = take(sqlite_store, study)
        sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=12)
        draft = optuna_bridge.Draft(storage, study, sampler, claim)
        rate = draft.trial.suggest_float("lr", 0.0, 1.0)
        queue.write_parameters(sqlite_store, claim, draft.parameters, draft.attributes)
        diverges = rate > 0.5
        kind = EndKind.DIVERGED if diverges else EndKind.COMPLETED
        value = 2.0 if diverges else 1.0 - abs(rate - 0.2)
        queue.end(sqlite_store, claim, End(kind, "because", value), [epoch(1, value)])
        if number >= 20:
            late.append(diverges)
    assert sum(late) <= len(late) // 3


def test_reports_are_seen_by_optuna_while_a_trial_runs(
    store: Store, make_study: Any, epoch: Callable[..., EpochRecord]
) -> None:
    study = make_study(store)
    storage = optuna_storage(store)
    claim = take(store, study)
    view = optuna_bridge.optuna_study(storage, study, optuna.samplers.RandomSampler())
    draft = optuna_bridge.Draft(storage, study, optuna.samplers.RandomSampler(), claim)
    queue.report(store, claim, [epoch(1, 0.5)])
    assert view.get_trials(deepcopy=False)[0].intermediate_values == {1: 0.5}
    # A proposal looks at the trials as they were when it began.
    assert draft.trial.study.get_trials(deepcopy=False)[0].intermediate_values == {}


@pytest.mark.slow
@pytest.mark.parametrize("deletes", ["optuna", "dashboard"])
def test_deleting_with_their_tools_leaves_nothing_to_inherit(
    store: Store, plain: Any, filled: StudyRecord, new_study: Any, deletes: str
) -> None:
    zombie = take(store, filled)
    theirs = plain(filled.name)
    if deletes == "optuna":
        optuna.delete_study(study_name=filled.name, storage=theirs._storage)
    else:
        delete_in_dashboard(theirs)
    assert reads.list_studies(store) == []
    assert studies.find_study(store, filled.name) is None
    again = studies.create_study(store, new_study(definition_hash="another"))
    if store.is_sqlite:
        assert again.study_id == filled.study_id  # handed out again
    assert again.uuid != filled.uuid
    fresh = take(store, again)
    assert (fresh.number, fresh.baseline, fresh.resumed) == (0, None, False)
    with pytest.raises(StaleClaimError):
        queue.end(store, zombie, End(EndKind.COMPLETED, "late", 0.99))
    assert [trial.value for trial in reads.trials(store, again)] == [None]
    assert reads.epochs(store, again, 0) == []
    with store.read() as connection:
        for table, rows in ((own_studies, 1), (own_trials, 1), (own_epochs, 0)):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == rows


def delete_in_dashboard(study: optuna.Study) -> None:
    from optuna_dashboard import wsgi

    answers = []
    environment = {
        "REQUEST_METHOD": "DELETE",
        "PATH_INFO": f"/api/studies/{study._study_id}",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": sys.stdin.buffer,
        "CONTENT_LENGTH": "0",
    }
    answer = wsgi(study._storage)(environment, lambda status, *_: answers.append(status))
    list(answer)
    assert answers == ["204 No Content"]


@pytest.mark.postgres
def test_store_and_sampler_share_one_connection(postgres_url: str, make_study: Any) -> None:
    store = open_store(postgres_url)
    study = make_study(store)
    storage = optuna_storage(store)
    sampler = optuna.samplers.TPESampler(seed=1)
    for _ in range(3):
        claim = take(store, study)
        draft = optuna_bridge.Draft(storage, study, sampler, claim)
        draft.trial.suggest_float("lr", 0.0, 1.0)
        queue.write_parameters(store, claim, draft.parameters, draft.attributes)
        queue.end(store, claim, End(EndKind.COMPLETED, "done", 0.5))
        reads.counts(store, study)
    with store.read() as connection:
        found = connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND backend_type = 'client backend'"
            )
        ).scalar()
    store.close()
    assert found == 1


def test_failures_inside_optuna_are_errors_of_ours(sqlite_store: Store, make_study: Any) -> None:
    study = make_study(sqlite_store)
    storage = optuna_storage(sqlite_store)
    sqlite_store.close()
    Path(sqlite_store.address.url.removeprefix("sqlite:///")).write_bytes(b"not a database" * 100)
    with (
        pytest.raises(StoreError, match="is no SQLite database"),
        optuna_bridge.optuna_failures(sqlite_store),
    ):
        storage.get_all_trials(study.study_id)
