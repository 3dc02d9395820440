from __future__ import annotations

import json
from pathlib import Path

import pytest

from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import (
    baseline_config,
    baseline_parameters,
    from_json,
    resolve,
    to_json,
)
from optuna_study.space.build import build

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.toml"))

ARTICLE = {  # activation, lr, breakpoints, batch, epochs of the ten of the first article
    "sigmoid": ("sigmoid", 0.01, (), 8, 150),
    "tanh": ("tanh", 0.01, (), 8, 150),
    "strategy-1": ("relu", 0.01, (), 8, 150),
    "strategy-2": ("relu", 0.01, ((18, 0.005),), 8, 150),
    "strategy-3": ("relu", 0.01, ((18, 0.003),), 8, 150),
    "reverse": ("relu", 0.01, ((16, 0.8),), 8, 150),
    "strategy-4": ("relu", 0.01, ((18, 0.005),), 16, 150),
    "final": ("relu", 0.01, ((18, 0.003),), 16, 150),
    "longer": ("relu", 0.01, ((18, 0.003),), 16, 200),
    "batch-32": ("relu", 0.01, ((18, 0.003),), 32, 150),
}


def _study(name: str) -> Path:
    return next(path for path in STUDIES if path.stem == name)


def test_there_are_studies() -> None:
    assert "alexnet_pokemon" in [path.stem for path in STUDIES]


@pytest.mark.parametrize("profile", ["full", "cpu"])
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_resolves_and_is_stored_whole(path: Path, profile: str) -> None:
    file = read_study_file(path)
    definition = resolve(file, profile, stand_in=file.stand_in is not None, threads=1)
    assert from_json(json.loads(json.dumps(to_json(definition), allow_nan=False))) == definition
    for baseline in definition.baselines:
        parameters, fixed = baseline_parameters(definition, baseline)
        config = build(definition.config, definition.space, parameters, fixed)
        assert config == baseline_config(definition, baseline)


def test_the_first_articles_baselines_are_its_own() -> None:
    definition = resolve(read_study_file(_study("alexnet_pokemon")), "full")
    found = {}
    for baseline in definition.baselines:
        config = baseline_config(definition, baseline)
        train = config.train
        found[baseline.name] = (
            config.model.activation,
            train.lr,
            train.breakpoints,
            train.batch_size,
            train.epochs,
        )
    assert found == ARTICLE
    assert [each.group for each in definition.baselines] == (
        ["activation"] * 3 + ["lr"] * 3 + ["batch"] * 4
    )
    assert all(each.reported for each in definition.baselines)
    assert [each.name for each in definition.baselines if each.outside] == ["reverse"]


def test_the_first_articles_cpu_profile_scales_its_breakpoints() -> None:
    definition = resolve(read_study_file(_study("alexnet_pokemon")), "cpu", stand_in=True)
    assert definition.name == "alexnet_pokemon@cpu-rendered"
    assert definition.search.trials == 24
    assert definition.config.train.threads == 1
    by_name = {each.name: each.settings for each in definition.baselines}
    epochs = definition.config.train.epochs
    assert by_name["longer"]["epochs"] == 4 * epochs // 3
    assert by_name["final"]["breakpoints"] == ((round(18 * epochs / 150), 0.003),)
