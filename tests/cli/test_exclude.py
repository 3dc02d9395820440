from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from optuna_study.actions.exclude import exclude, include
from optuna_study.api.frames import trials_frame
from optuna_study.cli.study_details import leave_out_of_best
from optuna_study.config.reasons import Reused
from optuna_study.definition.serialise import from_json
from optuna_study.errors import NotFoundError, UsageError
from optuna_study.paths import Workspace
from optuna_study.report.figures.kinds import KINDS
from optuna_study.report.figures.study_data import load_study_data
from optuna_study.report.load import load_summary
from optuna_study.report.notes import study_note
from optuna_study.search import samplers
from optuna_study.search.propose import propose
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.records import Claim, Confirmation, EndKind
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.studies import find_study, set_confirmation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTINGS = {"activation": "relu", "lr": 0.01, "dropout": 0.1}


@pytest.fixture
def tried(stored_study: Any) -> Any:
    """Two baselines, then searched trials of which number 3 is by far the best."""
    stored_study.run([0.5, 0.5, 0.5])
    stored_study.run([0.9, 0.9, 0.4])
    stored_study.run([0.6, 0.6, 0.6], parameters=SETTINGS)
    stored_study.run([0.99, 0.99, 0.99], parameters=SETTINGS | {"dropout": 0.2})
    return stored_study


def test_what_repeats_an_excluded_trial_goes_and_comes_with_it(
    tried: Any, cli: Callable[..., Any]
) -> None:
    store, study, place = tried.store, tried.study, ("--storage", tried.url)
    reason, same = Reused(3, "all 3 epochs"), SETTINGS | {"dropout": 0.2}
    tried.run([0.99], reason=reason, parameters=same, attributes={"reuses": 3})
    assert cli("exclude", "small", "3", *place).code == 0
    assert list(aggregates.excluded(store, study)) == [3, 4]
    assert reads.list_studies(store)[0].best == 0.6
    assert optuna.load_study(study_name="small", storage=tried.url).best_trial.number == 2
    assert cli("include", "small", "3", *place).code == 0
    assert list(aggregates.excluded(store, study)) == []


@pytest.mark.slow
def test_an_excluded_trial_is_best_of_nothing_and_comes_back(
    tried: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    store, study, place = tried.store, tried.study, ("--storage", tried.url)
    said = cli("exclude", "small", "3", "1", "--reason", "wrong pictures", *place)
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        "small: 2 trials (1 and 3) are excluded, and counted in its budget as before; the best is "
        f"trial 2, validation accuracy 60.0 %; `optuna-study include small 1 3 {' '.join(place)}` "
        "takes back.\n"
    )
    assert reads.best(store, study).number == 2  # type: ignore[union-attr]
    assert [*reads.best_few(store, study, 3)] == [2, 0]
    assert reads.list_studies(store)[0].best == 0.6
    assert sorted(aggregates.values_at(store, study, 1)) == [0.5, 0.6]
    assert aggregates.completed_trials(store, study) == 2
    assert reads.counts(store, study).ended == 4

    rows = json.loads(cli("trials", "small", *place, "-f", "json").out)
    assert [row["excluded"] for row in rows[:4]] == [None, "wrong pictures"] * 2
    assert "excluded: wrong pictures" in cli("trials", "small", *place).out
    page = cli("show", "small", *place).out
    assert "4 of 6 trials ended (2 searched, 2 baselines): 4 completed; excluded: 1 and 3." in page
    assert "Best: trial 2" in page
    summary = json.loads(cli("show", "small", *place, "-f", "json").out)
    assert summary["excluded"] == [
        {"number": 1, "reason": "wrong pictures"},
        {"number": 3, "reason": "wrong pictures"},
    ]
    lines = cli("show", "small", "--trial", "3", *place).out.splitlines()
    assert ["excluded", "wrong", "pictures"] in [line.split() for line in lines]
    assert "excluded: 1 and 3" in study_note(load_summary(store, study))
    data = load_study_data(store, study, Workspace(tmp_path))
    drawn = KINDS["history"].make(data).to_plotly_json()["data"]
    assert {trace["name"]: list(trace["x"]) for trace in drawn}["excluded"] == [1, 3]
    assert list(trials_frame(store, study)["excluded"].notna()) == [False, True] * 2

    plain = optuna.load_study(study_name="small", storage=tried.url)
    assert plain.trials[3].user_attrs["excluded"] == "wrong pictures"
    assert plain.best_trial.number == 2

    said = cli("include", "small", "3", *place)
    assert (
        said.out
        == "small: trial 3 is included; the best is trial 3, validation accuracy 99.0 %.\n"
    )
    assert optuna.load_study(study_name="small", storage=tried.url).best_trial.number == 3
    assert list(aggregates.excluded(store, study)) == [1]


def test_the_sampler_does_not_see_what_was_excluded_since_it_last_looked(
    tried: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, study = tried.store, tried.study
    storage = optuna_storage(store)
    storage.get_all_trials(study.study_id)  # kept from now on
    exclude(store, study, [3], "by hand")
    assert storage.get_best_trial(study.study_id).number == 3  # Optuna's does not look at it
    leave_out_of_best(storage, store)
    assert storage.get_best_trial(study.study_id).number == 2
    seen: list[int] = []

    class Looks(optuna.samplers.RandomSampler):
        def sample_independent(self, study: Any, trial: Any, *given: Any) -> Any:
            seen.extend(each.number for each in study.get_trials(deepcopy=False))
            return super().sample_independent(study, trial, *given)

    monkeypatch.setattr(samplers, "tpe", lambda *_, **__: samplers.OnStep(Looks(seed=1)))
    claim = queue.claim(store, study, "host-1-002")
    assert isinstance(claim, Claim)
    propose(store, storage, study, from_json(study.definition), claim)
    assert set(seen) == {0, 1, 2, 4}


def test_a_diverged_trial_stays_infeasible_when_it_is_taken_back(tried: Any) -> None:
    number = tried.run([0.1], EndKind.DIVERGED, reason="non_finite: the loss is nan")
    exclude(tried.store, tried.study, [number], "by hand")
    include(tried.store, tried.study, [number])
    trial = optuna.load_study(study_name="small", storage=tried.url).trials[number]
    assert trial.system_attrs["constraints"] == [1.0]
    assert "constraints:excluded" not in trial.system_attrs


def test_confirmation_looks_at_the_others(tried: Any) -> None:
    store, study = tried.store, tried.study
    exclude(store, study, [3], "by hand")
    set_budget(store, study, 4)
    set_confirmation(store, study, Confirmation(top=1, seeds=1))
    found = find_study(store, "small")
    claims = [queue.claim(store, found, f"host-1-00{index}") for index in range(2)]  # type: ignore[arg-type]
    assert sorted(each.confirms for each in claims if isinstance(each, Claim)) == [0, 2]  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [(9, NotFoundError, "has no trial 9"), (4, UsageError, "trial 4 has not ended yet")],
)
def test_only_ended_trials_can_be_left_out(
    tried: Any, number: int, error: type[Exception], words: str
) -> None:
    tried.start([0.5])
    with pytest.raises(error, match=words):
        exclude(tried.store, tried.study, [3, number], "by hand")
    with pytest.raises(error, match=words):
        include(tried.store, tried.study, [3, number])
    assert aggregates.excluded(tried.store, tried.study) == {}
