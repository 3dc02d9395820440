from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_study.config.catalogue import import_reference
from optuna_study.definition.model import SAMPLERS
from optuna_study.search import samplers
from optuna_study.seeds import sampler_seed

NAMES = ["lr", "depth", "kind"]


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
    depth = trial.suggest_int("depth", 1, 6)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    return lr * depth + (kind == "a")


def proposals(numbers: range, study: optuna.Study, seed: int = 0) -> list[dict[str, Any]]:
    found = []
    for number in numbers:
        study.sampler = samplers.tpe(seed, number, baselines=2, startup=4, names=NAMES)
        trial = study.ask()
        study.tell(trial, objective(trial))
        found.append(trial.params)
    return found


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_a_proposal_depends_on_history_and_number_alone() -> None:
    whole = optuna.create_study()
    first = proposals(range(2, 14), whole)
    again = optuna.create_study()
    proposals(range(2, 9), again)  # stopped here; new samplers from here on, as after a resume
    assert first[7:] == proposals(range(9, 14), again)


def test_nothing_is_proposed_twice_after_a_resume_or_by_a_second_worker() -> None:
    found = proposals(range(2, 30), optuna.create_study())
    assert len({str(sorted(params.items())) for params in found}) == len(found)


def test_another_study_seed_gives_other_proposals() -> None:
    assert proposals(range(2, 5), optuna.create_study(), 0) != proposals(
        range(2, 5), optuna.create_study(), 1
    )


def test_the_group_warning_is_silenced_by_name() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler = samplers.tpe(0, 20, baselines=2, startup=4, names=NAMES)
    assert isinstance(sampler, samplers.OnStep)


def test_the_first_trials_are_spread_evenly() -> None:
    study = optuna.create_study()
    for number in range(16):
        study.sampler = samplers.spread(3, number, baselines=0, startup=16, names=NAMES)
        study.tell(study.ask({"lr": FloatDistribution(0.0, 1.0)}), 0.0)
    drawn = [trial.params["lr"] for trial in study.trials]
    quarters = [sum(int(value * 4) == quarter for value in drawn) for quarter in range(4)]
    assert all(3 <= count <= 5 for count in quarters)  # independent draws often give 1 or 8


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_of_the_study_file_proposes(name: str) -> None:
    study = optuna.create_study()
    make = import_reference(SAMPLERS[name])
    study.sampler = make(0, 3, baselines=0, startup=2, names=NAMES)
    study.optimize(objective, n_trials=1)
    assert set(study.trials[0].params) == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_depends_on_history_and_number_alone(name: str) -> None:
    """Conditional, stepped, whole and logarithmic parameters, with a new sampler a trial."""

    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("lr", 1e-4, 0.1, log=True)
        value += trial.suggest_float("dropout", 0.0, 0.7, step=0.1)
        value += trial.suggest_int("batch_size", 8, 64, step=8)
        if trial.suggest_categorical("optimizer", ["sgd", "momentum"]) == "momentum":
            value += trial.suggest_float("momentum", 0.5, 0.99)
        return value

    names = ["lr", "dropout", "batch_size", "optimizer", "momentum"]
    make = import_reference(SAMPLERS[name])

    def drawn() -> list[dict[str, object]]:
        study = optuna.create_study()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for number in range(12):
                study.sampler = make(5, number, baselines=0, startup=4, names=names)
                study.optimize(objective, 1)
        return [trial.params for trial in study.trials]

    first = drawn()
    assert first == drawn()
    assert all(params["dropout"] in {n / 10 for n in range(8)} for params in first)
    assert len({str(params) for params in first}) == 12, "no proposal comes twice"


@given(st.floats(0, 1, exclude_max=True))
def test_a_coordinate_is_a_value_of_the_distribution(coordinate: float) -> None:
    distributions: list[BaseDistribution] = [
        FloatDistribution(0.1, 0.9),
        FloatDistribution(1e-5, 0.1, log=True),
        FloatDistribution(0.0, 0.7, step=0.1),
        IntDistribution(2, 64, log=True),
        IntDistribution(0, 10, step=5),
        CategoricalDistribution(["a", "b", 3]),
    ]
    for distribution in distributions:
        value = samplers.quantile(distribution, coordinate)
        assert distribution._contains(distribution.to_internal_repr(value))


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_sampler_seeds_fit_numpy(study_seed: int, number: int) -> None:
    assert 0 <= sampler_seed(study_seed, number) < 2**32


def test_sampler_seeds_differ() -> None:
    seeds = {sampler_seed(study, number) for study in range(50) for number in range(50)}
    assert len(seeds) == 2500


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.slow
def test_steps_are_drawn_as_the_decimal_numbers_they_stand_for(name: str) -> None:
    """Three steps of 0.1 are 0.30000000000000004 in Optuna's own samplers.

    The first eight are spread, the others drawn by what the sampler has learned.
    """
    make = import_reference(SAMPLERS[name])
    study = optuna.create_study()
    for index in range(24):
        study.sampler = make(7, index, baselines=0, startup=8, names=["dropout"])
        study.optimize(lambda trial: trial.suggest_float("dropout", 0.0, 0.7, step=0.1), 1)
    drawn = {trial.params["dropout"] for trial in study.trials}
    assert drawn <= {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}
    assert drawn & {0.3, 0.6, 0.7}
