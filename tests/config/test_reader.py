from __future__ import annotations

import ast
import inspect

import pytest

from optuna_study.config.catalogue import known_names, model_names, variants
from optuna_study.config.reader import Node, Problems, read_field
from optuna_study.config.settings import SECTIONS, TrainConfig
from optuna_study.definition.model import SearchSettings, section_fields


def test_variants_are_read_without_importing_the_model() -> None:
    from optuna_study.training.models import alexnet

    assert variants("alexnet") == tuple(alexnet.VARIANTS)
    assert variants("my.package:model") == ()


@pytest.mark.parametrize("model", model_names())
def test_every_model_names_its_variants_in_plain_sight(model: str) -> None:
    assert "default" in variants(model)


@pytest.mark.parametrize("section", [*SECTIONS, "search"])
def test_every_default_is_a_legal_value(section: str) -> None:
    for name, entry in section_fields(section).items():
        if entry.default is None:
            continue
        problems = Problems()
        assert read_field(Node(entry.default, name, problems), entry) == entry.default
        assert problems.noted == []


@pytest.mark.parametrize("section", [*SECTIONS, "search"])
def test_every_setting_is_documented_and_bounded(section: str) -> None:
    for name, entry in section_fields(section).items():
        assert entry.metadata["doc"].endswith(".")
        kind = str(entry.type).removesuffix(" | None")
        if kind in ("int", "float"):
            assert entry.metadata["low"] < entry.metadata["high"], name
        for known in known_names(entry.metadata["choices"]):
            assert read_field(Node(known, name, Problems()), entry) == known


def test_augmentations_are_put_in_their_order() -> None:
    problems = Problems()
    augmentation = section_fields("data")["augmentation"]
    assert read_field(Node("flip + crop", "x", problems), augmentation) == "crop+flip"
    assert read_field(Node("none", "x", problems), augmentation) == "none"
    assert problems.noted == []


def test_references_stand_for_ones_own_functions() -> None:
    problems = Problems()
    for section, name in (("model", "name"), ("model", "activation"), ("data", "name")):
        node = Node("my.package:make", name, problems)
        assert read_field(node, section_fields(section)[name]) == "my.package:make"
    assert problems.noted == []
    for wrong in (":make", "my.package:", "my..package:make", "my.package:make()", "1:2"):
        assert (
            read_field(Node(wrong, "model.name", problems), section_fields("model")["name"])
            is None
        )
    assert len(problems.noted) == 5


def test_paths_are_found_below_a_path() -> None:
    problems = Problems([("space.lr.high", "x"), ("space.dropout[1]", "x")])
    assert problems.at("space.dropout")
    assert problems.at("space.lr")
    assert problems.at("space.lr.high")
    assert not problems.at("space.l")


def test_the_direction_follows_from_the_metric() -> None:
    assert SearchSettings(metric="validation_loss").direction == "minimize"
    assert SearchSettings().direction == "maximize"


def test_the_configuration_stays_free_of_torch() -> None:
    tree = ast.parse(inspect.getsource(inspect.getmodule(TrainConfig) or TrainConfig))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert "torch" not in imported
