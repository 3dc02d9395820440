from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from optuna_study.config.settings import SECTION_OF, get_setting
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import baseline_config, baseline_parameters, resolve
from optuna_study.definition.serialise import from_json, to_json
from optuna_study.space.space import build

if TYPE_CHECKING:
    from optuna_study.config.settings import Setting

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.toml"))

# What the articles say of their other rows, and what is a control of one; by study, group and row,
# in the order in which they stand. A row names what it must have; what it does not name it has in
# common with the rows of its group.
Facts: TypeAlias = "dict[str, dict[str, dict[str, Setting]]]"
OWN = "finetune"  # no article's: what `init` writes, for the flowers
FLOWERS = "alexnet_flower"  # it has the first article's ten rows, as the Pokémon's has

CONVNET: Facts = {
    "optimizer": {
        "adam": {"optimizer": "adam", "lr": 1e-3},
        "sgd": {"optimizer": "sgd", "lr": 1e-4},
        "momentum": {"optimizer": "momentum", "lr": 1e-4, "momentum": 0.9},
        "adagrad": {"optimizer": "adagrad", "lr": 0.01},
        "rmsprop": {"optimizer": "rmsprop", "lr": 1e-3, "momentum": 0.0},
    },
    "pictures-a-step": {
        "one-picture": {"optimizer": "sgd", "batch_size": 1, "lr": 1e-3},
        "mini-batch": {"optimizer": "sgd", "batch_size": 20, "lr": 0.01},
        # A step of gd is an epoch, so only epochs of its own show anything.
        "full-batch": {"optimizer": "gd", "batch_size": 100, "lr": 0.05, "epochs": 100},
    },
    "activation": {
        "sigmoid": {"activation": "sigmoid"},
        "tanh": {"activation": "tanh"},
        "relu": {"activation": "relu"},
        "leaky-relu": {"activation": "leaky_relu"},
        "elu": {"activation": "elu"},
        "maxout": {"activation": "maxout"},
    },
    "initial-weights": {
        "zeros": {"initialisation": "zeros"},
        "normal": {"initialisation": "normal", "initialisation_std": 0.02},
        "truncated-normal": {"initialisation": "truncated_normal", "initialisation_std": 0.02},
        "glorot": {"initialisation": "xavier"},
        "he": {"initialisation": "he"},
        "one-layer-zeros": {"variant": "one_layer", "initialisation": "zeros"},
        "one-layer-glorot": {"variant": "one_layer", "initialisation": "xavier"},
    },
    "batch-norm": {
        "batch-norm": {"variant": "batch_norm_3_2_2", "normalisation": "batch"},
        "without-batch-norm": {"variant": "batch_norm_3_2_2", "normalisation": "none"},
    },
    "advice": {
        "half-the-pictures": {"subset": 0.5},
        "all-pictures": {"subset": 1.0},
        "twice-the-steps": {"epochs": 10},
    },
}

LENET: Facts = {
    "transform": {
        "lenet": {"augmentation": "none"},
        "flip": {"augmentation": "flip"},
        "crop-and-flip": {"augmentation": "crop+flip"},
    },
    "shuffle": {
        "shuffled": {"shuffle": "every_epoch"},
        "shuffled-once": {"shuffle": "once"},
    },
}

VGG: Facts = {
    "transform": {
        "vgg": {"augmentation": "crop+flip"},
        "no-transform": {"augmentation": "none"},
        "flip": {"augmentation": "flip"},
    },
    "width-or-depth": {
        "narrow": {"variant": "small", "width": 0.0625},
        "wide": {"variant": "small", "width": 0.125},
        "deep": {"variant": "vgg16", "width": 0.0625},
    },
}

RESIDUAL: Facts = {
    "residual-or-plain": {
        "residual-8": {"variant": "resnet8"},
        "plain-8": {"variant": "plain8"},
        "residual-20": {"variant": "resnet20"},
        "plain-20": {"variant": "plain20"},
    },
}

PERMUTED: Facts = {
    "permuted": {
        "plain": {"pixels": "plain"},
        "permuted": {"pixels": "permuted"},
    },
}

# Of the flower study: what the first article asks, and the rows of the fourth.
FLOWER: Facts = {
    "subset": {
        "subset-25": {"subset": 0.25},
        "subset-50": {"subset": 0.5},
        "subset-100": {"subset": 1.0},
    },
    "augmentation": {
        "augmentation-off": {"augmentation": "none"},
        "augmentation-on": {"augmentation": "crop+flip"},
        "augmentation-colours": {"augmentation": "crop+flip+pca_jitter"},
        "ten-crop": {"augmentation": "crop+flip+pca_jitter", "evaluation": "ten_crop"},
    },
    "towers": {
        "two-towers": {"variant": "original"},
        "one-tower": {"variant": "single_tower"},
        "single-gpu": {
            "variant": "single_gpu",
            "normalisation": "batch",
            "dropout": 0.25,
            "weight_decay": 4e-4,  # 2 x 2e-4, since the article squares without a half
        },
    },
    "pooling": {
        "overlapping": {"pooling": "overlapping"},
        "plain-pools": {"pooling": "plain"},
    },
}

POKEMON: Facts = {
    "subset": FLOWER["subset"],
    "augmentation": {
        name: FLOWER["augmentation"][name] for name in ("augmentation-off", "augmentation-on")
    },
}

FACTS = {
    FLOWERS: FLOWER,
    "alexnet_pokemon": POKEMON,
    "convnet_cifar10": CONVNET,
    "lenet_cifar10": LENET,
    "mnist_cnn": PERMUTED,
    "mnist_fc": PERMUTED,
    "residual_cifar10": RESIDUAL,
    "vgg_cifar10": VGG,
}

# What all rows of a study have besides: the nets of the articles and how they were trained.
ALEXNET: dict[str, Setting] = {
    "optimizer": "sgd",
    "lr": 0.01,
    "batch_size": 16,
    "initialisation": "he",
    "lrn_formula": "article",
}
NO_INITIALISATION: dict[str, Setting] = {"initialisation": "default", "activation": "relu"}
BASES: dict[str, dict[str, Setting]] = {
    "alexnet_flower": ALEXNET,
    "alexnet_pokemon": ALEXNET,
    "convnet_cifar10": {
        "width": 1.0,
        "image_size": 32,
        "memory_format": "channels_last",
        "scaling": "symmetric",
    },
    "lenet_cifar10": {**NO_INITIALISATION, "normalisation": "none", "optimizer": "adam"},
    "mnist_cnn": {**NO_INITIALISATION, "variant": "default", "normalisation": "none"},
    "mnist_fc": {**NO_INITIALISATION, "variant": "8-8", "normalisation": "none"},
    "residual_cifar10": {**NO_INITIALISATION, "normalisation": "batch"},
    "vgg_cifar10": {**NO_INITIALISATION, "normalisation": "batch"},
}

MODELS = {
    "alexnet_flower": "alexnet",
    "alexnet_pokemon": "alexnet",
    "convnet_cifar10": "convnet",
    "lenet_cifar10": "lenet",
    "mnist_cnn": "cnn",
    "mnist_fc": "mlp",
    "residual_cifar10": "residual",
    "vgg_cifar10": "vgg",
}

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
    ten = [baseline for baseline in definition.baselines if baseline.name in ARTICLE]
    assert list(definition.planned) == ten, "a search starts from them"
    found = {}
    for baseline in ten:
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
    assert [each.group for each in ten] == ["activation"] * 3 + ["lr"] * 3 + ["batch"] * 4
    assert all(each.reported for each in ten)
    assert [each.name for each in ten if each.outside] == ["reverse"]


def test_the_studies_of_the_articles_are_here() -> None:
    assert [path.stem for path in STUDIES] == [
        "alexnet_flower",
        "alexnet_pokemon",
        "convnet_cifar10",
        OWN,
        "lenet_cifar10",
        "mnist_cnn",
        "mnist_fc",
        "mnist_mlp",
        "residual_cifar10",
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
    assert path.stem == OWN or all(each.reported and each.group for each in file.baselines)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_cpu_profile_pins_one_thread_and_still_searches(path: Path) -> None:
    definition = resolve(read_study_file(path), "cpu", threads=2)
    assert definition.config.train.threads == 1
    assert definition.search.trials >= 2 * len(definition.planned), "half of them is searched"


@pytest.mark.parametrize("profile", ["full", "cpu"])
def test_the_flower_study_has_the_space_and_the_baselines_of_the_first(profile: str) -> None:
    flower = resolve(read_study_file(_study("alexnet_flower")), profile)
    pokemon = resolve(read_study_file(_study("alexnet_pokemon")), profile)
    shared = [each for each in flower.baselines if each.name in ARTICLE]
    if profile == "full":
        assert flower.space.dimensions == pokemon.space.dimensions
        assert shared == list(pokemon.planned)
    assert [each.name for each in shared] == [each.name for each in pokemon.planned]
    assert flower.planned == tuple(shared), "a search starts from the article's own ten"


@pytest.mark.parametrize("name", FACTS)
def test_the_rows_of_the_articles_are_their_own(name: str) -> None:
    definition = resolve(read_study_file(_study(name)), "full")
    assert definition.config.model.name == MODELS[name]
    own = [
        each
        for each in definition.baselines
        if each.name not in ARTICLE or MODELS[name] != "alexnet"
    ]
    rows = {row: (group, facts) for group, of in FACTS[name].items() for row, facts in of.items()}
    assert [(each.name, each.group) for each in own] == [(row, rows[row][0]) for row in rows]
    for baseline in own:
        config = baseline_config(definition, baseline)
        wanted = {**BASES[name], **rows[baseline.name][1]}
        assert {key: get_setting(config, key) for key in wanted} == wanted, baseline.name


@pytest.mark.parametrize("profile", ["full", "cpu"])
@pytest.mark.parametrize("name", FACTS)
def test_the_rows_of_a_group_differ_in_what_they_are_about(name: str, profile: str) -> None:
    """All but what a row names is the same in its group, so that a table compares one thing."""
    definition = resolve(read_study_file(_study(name)), profile)
    for group, rows in FACTS[name].items():
        about = {key for facts in rows.values() for key in facts}
        configs = [
            baseline_config(definition, each)
            for each in definition.baselines
            if each.group == group
        ]
        for key in SECTION_OF.keys() - about:
            assert len({get_setting(config, key) for config in configs}) == 1, (group, key)


@pytest.mark.parametrize("name", ["mnist_mlp", "spiral"])
def test_articles_that_name_no_initialisation_have_torchs_own(name: str) -> None:
    definition = resolve(read_study_file(_study(name)), "full")
    for baseline in definition.baselines:
        assert baseline_config(definition, baseline).model.initialisation == "default"


@pytest.mark.parametrize(("profile", "steps", "every"), [("full", 5000, 1000), ("cpu", 500, 100)])
def test_the_second_articles_steps_are_counted(profile: str, steps: int, every: int) -> None:
    """Of the full study where the file has enough pictures, as all of CIFAR-10 has."""
    config = resolve(read_study_file(_study("convnet_cifar10")), profile).config
    assert config.data.picture_limit / config.train.batch_size == every
    assert every * config.train.epochs == steps


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
