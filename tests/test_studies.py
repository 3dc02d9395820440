from __future__ import annotations

import json
from dataclasses import replace
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


MNIST_MLP = {  # loss, activation, optimizer, rate, normalisation of the rows of the fifth article
    "base": ("mse", "sigmoid", "sgd", 0.01, "none"),
    "bce": ("bce", "sigmoid", "sgd", 0.01, "none"),
    "leaky-relu": ("mse", "leaky_relu", "sgd", 0.01, "none"),
    "adam": ("mse", "sigmoid", "adam", 0.001, "none"),
    "layer-norm": ("mse", "sigmoid", "sgd", 0.01, "layer"),
    "all-four": ("bce", "leaky_relu", "adam", 0.001, "layer"),
}

SPIRAL = {  # activation, optimizer, rate, epochs of the rows of the course exercise
    "linear-sgd-1e-3": ("torch.nn:Identity", "sgd", 0.001, 1000),
    "sgd-1e-3": ("relu", "sgd", 0.001, 1000),
    "sgd-1e-1": ("relu", "sgd", 0.1, 1000),
    "sgd-1": ("relu", "sgd", 1.0, 1000),
    "adam-1e-3": ("relu", "adam", 0.001, 1000),
    "adam-1": ("relu", "adam", 1.0, 300),
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


def test_the_studies_of_the_articles_are_here() -> None:
    assert [path.stem for path in STUDIES] == [
        "alexnet_flower",
        "alexnet_pokemon",
        "convnet_cifar10",
        "lenet_cifar10",
        "mnist_cnn",
        "mnist_fc",
        "mnist_mlp",
        "spiral",
        "vgg_cifar10",
    ]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_runs_without_a_download_and_cites_its_source(path: Path) -> None:
    file = read_study_file(path)
    assert file.stand_in in ("digits", "rendered") or file.config.data.name == "spiral"
    assert file.title
    assert file.source
    assert "cpu" in file.profiles
    assert all(each.reported and each.group for each in file.baselines)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_cpu_profile_pins_one_thread_and_still_searches(path: Path) -> None:
    definition = resolve(read_study_file(path), "cpu", threads=2)
    assert definition.config.train.threads == 1
    assert definition.search.trials > len(definition.baselines)


@pytest.mark.parametrize("profile", ["full", "cpu"])
def test_the_flower_study_has_the_space_and_the_baselines_of_the_first(profile: str) -> None:
    flower = resolve(read_study_file(_study("alexnet_flower")), profile)
    pokemon = resolve(read_study_file(_study("alexnet_pokemon")), profile)
    shared = [each for each in flower.baselines if each.name in ARTICLE]
    if profile == "full":
        assert flower.space.dimensions == pokemon.space.dimensions
        assert shared == list(pokemon.baselines)
    assert [each.name for each in shared] == [each.name for each in pokemon.baselines]
    groups: dict[str, list[object]] = {each.group: [] for each in flower.baselines}
    for each in flower.baselines:
        config = baseline_config(flower, each)
        groups[each.group].append((config.data.subset, config.data.augmentation))
    assert groups["subset"] == [(0.25, "none"), (0.5, "none"), (1.0, "none")]
    assert groups["augmentation"] == [(1.0, "none"), (1.0, "crop+flip+pca_jitter")]


@pytest.mark.parametrize("profile", ["full", "cpu"])
def test_the_fifth_articles_rows_change_one_piece_each(profile: str) -> None:
    definition = resolve(read_study_file(_study("mnist_mlp")), profile)
    found = {}
    outputs = {}
    for baseline in definition.baselines:
        config = baseline_config(definition, baseline)
        train, model = config.train, config.model
        outputs[baseline.name] = train.mse_of
        if baseline.group == "why":
            continue
        assert (train.epochs, train.batch_size, model.variant) == (3, 1, "200")
        assert (model.slope, model.normalisation_place, model.dropout) == (0.02, "after", 0.0)
        found[baseline.name] = (
            train.loss,
            model.activation,
            train.optimizer,
            train.lr,
            model.normalisation,
        )
    assert found == MNIST_MLP
    assert [name for name, of in outputs.items() if of == "activation"] == ["leaky-relu"]


@pytest.mark.parametrize("profile", ["full", "cpu"])
def test_the_spiral_rows_are_those_of_the_exercise(profile: str) -> None:
    definition = resolve(read_study_file(_study("spiral")), profile)
    found = {}
    for baseline in definition.baselines:
        config = baseline_config(definition, baseline)
        train = config.train
        found[baseline.name] = (config.model.activation, train.optimizer, train.lr, train.epochs)
    assert found == SPIRAL


@pytest.mark.parametrize("name", ["mnist_fc", "mnist_cnn"])
def test_permuted_pixels_are_the_only_difference(name: str) -> None:
    definition = resolve(read_study_file(_study(name)), "full")
    plain, permuted = (baseline_config(definition, each) for each in definition.baselines)
    assert (plain.data.pixels, permuted.data.pixels) == ("plain", "permuted")
    assert replace(permuted, data=replace(permuted.data, pixels="plain")) == plain
    assert {each.group for each in definition.baselines} == {"permuted"}


def test_the_first_articles_cpu_profile_scales_its_breakpoints() -> None:
    definition = resolve(read_study_file(_study("alexnet_pokemon")), "cpu", stand_in=True)
    assert definition.name == "alexnet_pokemon@cpu-rendered"
    assert definition.search.trials == 24
    assert definition.config.train.threads == 1
    by_name = {each.name: each.settings for each in definition.baselines}
    epochs = definition.config.train.epochs
    assert by_name["longer"]["epochs"] == 4 * epochs // 3
    assert by_name["final"]["breakpoints"] == ((round(18 * epochs / 150), 0.003),)
