"""Trials read as rows are those that Optuna itself reads."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_trials import frozen_trials

if TYPE_CHECKING:
    from pathlib import Path

KINDS: dict[str, optuna.distributions.BaseDistribution] = {
    "activation": optuna.distributions.CategoricalDistribution(["relu", None, True, 3]),
    "width": optuna.distributions.IntDistribution(1, 64, log=True),
    "lr": optuna.distributions.FloatDistribution(0.0, 1.0, step=0.1),
}


def test_rows_are_what_optuna_reads(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    theirs = RDBStorage(url)
    first = optuna.create_study(storage=theirs, study_name="first")
    second = optuna.create_study(storage=theirs, study_name="second", directions=["minimize"] * 2)
    for width, value in ((1, math.inf), (2, 0.25), (64, -math.inf)):
        parameters = {"activation": None, "width": width, "lr": 0.3}
        first.add_trial(create_trial(value=value, params=parameters, distributions=KINDS))
    pruned: dict[str, Any] = {"state": TrialState.PRUNED, "user_attrs": {"why": ["rung", 1]}}
    reports = {3: 0.5, 1: math.nan, 2: math.inf}
    first.add_trial(create_trial(**pruned, intermediate_values=reports))
    second.add_trial(create_trial(values=[0.5, 0.25]))
    first.enqueue_trial({"lr": 0.7})
    running = first.ask()
    running.suggest_float("lr", 0.0, 1.0, step=0.1)
    asked = second.ask()

    store = open_store(url, upgrade=True)
    with store.read() as connection:
        for study in (first, second):
            expected = theirs.get_all_trials(study._study_id)
            found = frozen_trials(connection, study._study_id)
            assert [_fields(each) for each in found] == [_fields(each) for each in expected]
            assert len(found) in (5, 2)
        own = theirs.get_all_trials(first._study_id)
        known = [own[1]._trial_id]
        later = frozen_trials(connection, first._study_id, own[2]._trial_id, known)
        assert [each.number for each in later] == [1, 3, 4]
        assert frozen_trials(connection, second._study_id, asked._trial_id) == []
        assert frozen_trials(connection, 99) == []
    store.close()


def _fields(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """All there is of a trial, NaN as a word, which is equal to itself."""
    found = {name: value for name, value in vars(trial).items() if name != "intermediate_values"}
    assert isinstance(found["_datetime_start"], datetime.datetime | None)
    reports = {step: str(value) for step, value in trial.intermediate_values.items()}
    return {**found, "reports": reports, "order": list(trial.params)}
