"""Importances: of what enough trials had, with intervals that a dozen trials make wide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from sqlalchemy import select, update

from optuna_study.paths import Workspace
from optuna_study.report.figures.study_data import load_study_data
from optuna_study.search import importance
from optuna_study.search.importance import FEWEST, measure
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.records import Confirmation
from optuna_study.store.rows import write_attributes
from optuna_study.store.schema import own_trials
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.studies import load_study, set_confirmation

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.trial import FrozenTrial

UNIT = optuna.distributions.FloatDistribution(0.0, 1.0)


def trials(amount: int, conditional: int = 0) -> list[FrozenTrial]:
    """Trials whose value is their `lr`, but for a little; the first few have a `slope`, too."""
    random = np.random.default_rng(3)
    made = []
    for place in range(amount):
        parameters = {"lr": float(random.random()), "dropout": float(random.random())}
        value = parameters["lr"] + 0.01 * float(random.random())
        if place < conditional:
            parameters["slope"] = 0.9 - 0.1 * place
            value = 2.0 - 0.3 * place  # and what has it stands out
        made.append(
            optuna.trial.create_trial(
                value=value, params=parameters, distributions=dict.fromkeys(parameters, UNIT)
            )
        )
    return made


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.slow
def test_what_decides_has_the_largest_share_with_its_interval(direction: str) -> None:
    found = measure(trials(60), direction)
    assert list(found) == ["lr", "dropout"]
    decisive = found["lr"]
    assert decisive.share is not None
    assert decisive.low is not None
    assert decisive.high is not None
    assert decisive.trials == 60
    assert 0.8 < decisive.low <= decisive.share <= decisive.high <= 1.0
    assert math.isclose(sum(each.share or 0 for each in found.values()), 1.0)


def test_a_parameter_of_three_trials_is_never_on_top() -> None:
    found = measure(trials(30, conditional=3), "maximize")
    assert (found["slope"].share, found["slope"].trials) == (None, 3)
    assert next(iter(found)) != "slope"


@pytest.mark.slow
def test_they_are_due_and_computed_without_confirmation_runs(stored_study: Any) -> None:
    store, study = stored_study.store, stored_study.study
    set_budget(store, study, FEWEST + 1)
    for place in range(FEWEST + 1):
        drawn = {"activation": "relu", "lr": 10.0 ** -(1 + place % 3), "dropout": place / 30}
        assert importance.due(store, study, last=False) == (place >= FEWEST)
        stored_study.run([0.5 + place / 30], parameters=None if place < 2 else drawn)
    assert importance.due(store, study, last=False)
    set_confirmation(store, study, Confirmation(1, 1))
    stored_study.run([0.9])
    stored_study.run([0.9])
    importance.refresh(store, optuna_storage(store), study)
    found = load_study(store, study.name)
    assert found.importances_trials == FEWEST + 1
    assert set(found.importances or ()) == {"lr", "dropout", "activation"}
    assert not importance.due(store, study, last=True)


def test_a_baseline_of_another_model_tells_nothing_of_what_is_searched(
    stored_study: Any, tmp_path: Path
) -> None:
    store, study = stored_study.store, stored_study.study
    set_budget(store, study, FEWEST + 1)
    for place in range(FEWEST + 1):
        drawn = {"activation": "relu", "lr": 10.0 ** -(1 + place % 3), "dropout": place / 30}
        stored_study.run([0.5 + place / 30], parameters=None if place < 2 else drawn)
    with store.write() as connection:
        first = own_trials.c.number == 0, own_trials.c.uuid == study.uuid
        trial_id = connection.execute(select(own_trials.c.trial_id).where(*first)).scalar_one()
        connection.execute(update(own_trials).where(*first).values(fixed='{"model": "mlp"}'))
        write_attributes(connection, trial_id, {"fixed": {"model": "mlp"}})
    assert importance.due(store, study, last=False)
    importance.refresh(store, optuna_storage(store), study)
    found = load_study(store, study.name)
    assert found.importances_trials == FEWEST
    assert not importance.due(store, found, last=True)
    data = load_study_data(store, found, Workspace(tmp_path))
    assert sorted(trial.number for trial in data.ranked) == list(range(FEWEST + 1))
    assert sorted(trial.number for trial in data.comparable) == list(range(1, FEWEST + 1))


def test_a_handful_of_trials_tells_nothing() -> None:
    found = measure(trials(FEWEST - 1), "maximize")
    assert set(found) == {"lr", "dropout"}
    assert all(each.share is None for each in found.values())
    assert measure([], "maximize") == {}
