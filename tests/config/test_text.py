from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import tomlkit
import yaml

from optuna_study.config.reader import Node, Problems, read_config
from optuna_study.config.settings import SECTIONS, TrainConfig, with_settings
from optuna_study.config.text import config_text, setting_comment

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.text import Format

LOADERS: dict[Format, Callable[[str], Any]] = {
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    "json": json.loads,
}
CONFIG = with_settings(
    TrainConfig(),
    {"breakpoints": ((18, 0.003), (30, 1e-5)), "weight_decay": 1e-5, "lr": 0.1 + 0.2, "width": 1},
)
PROVENANCE = {
    "study": 'ünïcode "quoted" # no comment',
    "baseline": None,
    "versions": {"torch": "2.14", "cuda": None},
}
RECORDED = {"value": 0.1 + 0.7, "curve": {"epoch": [1, 2], "lr": [0.1, math.nan]}}


@pytest.mark.parametrize("form", LOADERS)
def test_every_form_gives_back_the_configuration_to_the_last_bit(form: Format) -> None:
    found = LOADERS[form](config_text(CONFIG, PROVENANCE, RECORDED, form))
    assert set(found) == {*SECTIONS, "provenance"}
    problems = Problems()
    assert read_config(Node(found, "", problems)) == CONFIG
    assert problems.noted == []
    assert found["provenance"] == {
        "study": 'ünïcode "quoted" # no comment',
        "versions": {"torch": "2.14"},
        "recorded": {"value": 0.1 + 0.7, "curve": {"epoch": [1, 2], "lr": [0.1]}},
    }


@pytest.mark.parametrize("form", ["toml", "yaml"])
def test_every_setting_stands_under_its_sentence(form: Format) -> None:
    lines = [line.strip() for line in config_text(CONFIG, {}, {}, form).splitlines()]
    for section, cls in SECTIONS.items():
        for entry in dataclasses.fields(cls):
            comment = f"# {setting_comment(section, entry.name)}"
            follower = lines[lines.index(comment, lines.index(_head(section, form))) + 1]
            assert follower.startswith(entry.name)


def _head(section: str, form: str) -> str:
    return f"[{section}]" if form == "toml" else f"{section}:"


def test_few_legal_values_are_named() -> None:
    assert setting_comment("train", "loss").endswith("(cross_entropy, mse, bce)")
    with pytest.raises(KeyError):
        setting_comment("train", "los")


def test_toml_is_written_as_tomlkit_writes_it() -> None:
    """Text that needs care, keys that are not bare, numbers of each kind, tables in tables."""
    origin = {
        "study": 'a "quoted" näme\nof two lines, C:\\x',
        "trial": 3,
        "value": 0.1 + 0.2,
        "small": 1e-05,
        "kept": True,
        "pairs": [[1, 0.5], [2, 3.0]],
        "nothing": [],
        "environment": {"torch": "2.14", "class counts": [1, 2], "deep": {"a.b": -1}},
    }
    text = config_text(TrainConfig(), origin, {"accuracy": 0.5})
    whole = {**origin, "recorded": {"accuracy": 0.5}}
    assert text.endswith("\n" + tomlkit.dumps({"provenance": whole}))
    assert tomllib.loads(text)["provenance"] == whole
