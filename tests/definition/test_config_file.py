from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optuna_study.config.settings import TrainConfig, config_to_dict, with_settings
from optuna_study.config.text import config_text
from optuna_study.definition.config_file import Origin, Recorded, read_config_file
from optuna_study.errors import NotFoundError, StudyFileError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = with_settings(
    TrainConfig(), {"epochs": 20, "lr": 1e-05, "breakpoints": ((18, 0.003),), "dropout": 0.0}
)


@pytest.mark.parametrize("form", ["toml", "yaml", "json"])
def test_an_exported_configuration_is_read_back(
    tmp_path: Path, form: Literal["toml", "yaml", "json"]
) -> None:
    path = tmp_path / f"best.{form}"
    path.write_text(config_text(CONFIG, {"study": "cats", "trial": 7}, {"value": 0.9}, form))
    config, provenance = read_config_file(path)
    assert config == CONFIG
    assert provenance == Origin(study="cats", trial=7, recorded=Recorded(value=0.9))


@given(lr=st.floats(1e-8, 100.0), rate=st.floats(1e-8, 100.0), dropout=st.floats(0.0, 0.95))
@pytest.mark.parametrize("form", ["toml", "yaml", "json"])
@pytest.mark.slow
def test_numbers_are_read_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory,
    form: Literal["toml", "yaml", "json"],
    lr: float,
    rate: float,
    dropout: float,
) -> None:
    path = tmp_path_factory.getbasetemp() / f"numbers.{form}"
    config = with_settings(CONFIG, {"lr": lr, "breakpoints": ((3, rate),), "dropout": dropout})
    path.write_text(config_text(config, {}, {}, form))
    assert read_config_file(path)[0] == config


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "little.yml"
    path.write_text("train:\n  lr: 0.5\n")
    assert read_config_file(path) == (with_settings(TrainConfig(), {"lr": 0.5}), Origin())


@pytest.mark.parametrize(
    ("name", "text", "problems"),
    [
        ("a.toml", "[train]\nlrr = 1\n", ["train.lrr: unknown key, did you mean 'lr'?"]),
        (
            "a.json",
            '{"train": {"lr": NaN, "epochs": 5.5}, "xyz": 1}',
            [
                "xyz: unknown key, known: data, model, provenance, train",
                "train.lr: must be finite, not nan",
                "train.epochs: must be a whole number, not 5.5",
            ],
        ),
        (
            "a.toml",
            "[train]\nepochs = 10\nbreakpoints = [[10, 0.1]]\n",
            ["train.breakpoints: epoch 10 is not before the last of 10 epochs"],
        ),
        ("a.yaml", "train: {lr: '1e-3'}", ["train.lr: must be a number, not '1e-3'"]),
        ("a.yaml", "- 1\n", ["holds no tables; export writes data, model and train"]),
        ("a.txt", "", ["must end in .toml, .yaml, .yml or .json"]),
        (
            "a.toml",
            "[space]\nlr = [0.1]\n",
            ["is a study file; launch it, then make a configuration with `optuna-study export`"],
        ),
        ("a.json", '{"provenance": 3}', ["provenance: must be a table, not 3"]),
    ],
)
def test_problems_are_told(tmp_path: Path, name: str, text: str, problems: list[str]) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(StudyFileError) as caught:
        read_config_file(path)
    assert list(caught.value.problems) == problems


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "x = = 1"),
        ("a.json", "{"),
        ("a.json", "[" * 100_000),
        ("a.yaml", "a: [1"),
        ("a.yaml", "a: 2026-99-99"),
    ],
)
def test_what_is_not_even_that_format_is_told(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(StudyFileError, match=r"no valid (TOML|JSON|YAML): ") as caught:
        read_config_file(path)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot be read"):
        read_config_file(tmp_path / "none.toml")
    (tmp_path / "binary.json").write_bytes(b"\xffx")
    with pytest.raises(StudyFileError, match="byte 0: is not UTF-8 text"):
        read_config_file(tmp_path / "binary.json")


def test_yaml_and_json_hold_the_same(tmp_path: Path) -> None:
    plain = config_to_dict(CONFIG)
    assert yaml.safe_load(config_text(CONFIG, {}, {}, "yaml"))["train"] == plain["train"]
    assert json.loads(config_text(CONFIG, {}, {}, "json"))["train"] == plain["train"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
YAML = st.sampled_from(
    ("&a", "*a", "!!python/object/apply:os.mkdir", "!!binary", "<<: *a", "? ", "|")
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary()
    | st.text().map(str.encode)
    | st.lists(YAML | st.sampled_from((": ", "- ", "\n", "train", "lr", "[", "1"))).map(
        lambda words: "".join(words).encode()
    )
    | PLAIN.map(lambda plain: json.dumps(plain).encode())
    | PLAIN.map(lambda plain: json.dumps({"train": plain, "provenance": plain}).encode())
)
@pytest.mark.parametrize("ending", ["toml", "yaml", "json"])
@pytest.mark.slow
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path: Path, ending: str, content: bytes
) -> None:
    path = tmp_path / f"some.{ending}"
    path.write_bytes(content)
    try:
        read_config_file(path)
    except StudyFileError as error:
        assert error.problems  # noqa: PT017 - an empty TOML file is a configuration
        assert all(each.isprintable() for each in error.problems)  # noqa: PT017


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("form", ["toml", "yaml", "json"])
@pytest.mark.slow
def test_an_exported_file_with_changed_bytes_is_read_or_refused(
    tmp_path: Path, form: Literal["toml", "yaml", "json"], data: st.DataObject
) -> None:
    recorded = {"metric": "validation_accuracy", "value": 0.5, "curve": {"train_loss": [1.0, 2.0]}}
    whole = config_text(CONFIG, {"study": "cats", "environment": {"torch": "2"}}, recorded, form)
    damaged = bytearray(whole.encode())
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / f"best.{form}"
    path.write_bytes(damaged)
    try:
        config, _ = read_config_file(path)
    except StudyFileError as error:
        assert all(each.isprintable() for each in error.problems)  # noqa: PT017 - a comment's
        return
    path.write_text(config_text(config, {}, {}, form))
    assert read_config_file(path)[0] == config


def test_an_environment_may_count_pictures(tmp_path: Path) -> None:
    path = tmp_path / "best.toml"
    counted = {"threads": 2, "class_counts": [26, 25], "side_counts": {"train": 51, "test": 9}}
    path.write_text(config_text(CONFIG, {"environment": counted}, {}))
    assert read_config_file(path)[1].environment == {"threads": 2}
