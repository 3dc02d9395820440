from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from optuna_study.config.settings import TrainConfig
from optuna_study.config.text import config_text
from optuna_study.definition.config_file import read_config_file
from optuna_study.definition.read import parse_study_file, read_study_file
from optuna_study.errors import StudyFileError

if TYPE_CHECKING:
    from pathlib import Path

SPACE = '[space]\nactivation = ["relu", "gelu"]\n'
MANY = 20_000


def refused(text: str) -> StudyFileError:
    with pytest.raises(StudyFileError) as caught:
        parse_study_file(text, "hostile")
    assert len(str(caught.value)) < 12_000
    return caught.value


def test_a_utf_8_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_text(SPACE, encoding="utf-8-sig")
    assert read_study_file(path).space
    config = tmp_path / "bom.json"
    config.write_text("{}", encoding="utf-8-sig")
    assert read_config_file(config)[0] == TrainConfig()


@pytest.mark.parametrize(
    ("encoding", "name"), [("utf-16", "UTF-16"), ("utf-32", "UTF-32"), ("utf-16-be", "UTF-16")]
)
def test_other_encodings_are_named(tmp_path: Path, encoding: str, name: str) -> None:
    path = tmp_path / "cats.toml"
    path.write_text(f"\ufeff{SPACE}" if encoding.endswith("be") else SPACE, encoding=encoding)
    with pytest.raises(StudyFileError) as caught:
        read_study_file(path)
    assert caught.value.problems == (f"is {name} text; save it as UTF-8",)


def test_utf_16_without_a_mark_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "cats.toml"
    path.write_bytes(SPACE.encode("utf-16-le"))
    with pytest.raises(StudyFileError, match="is UTF-16 text; save it as UTF-8"):
        read_study_file(path)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 50_000,
        "a = " + "{a = " * 50_000,
        ".".join("a" * MANY) + " = 1\n",
        ".".join(['"a"'] * MANY) + " = 1\n",
        "[" + ".".join("a" * MANY) + "]\n",
    ],
)
def test_a_file_of_adversarial_depth_is_one_line(text: str) -> None:
    assert refused(f"{text}\n{SPACE}").problems == ("no valid TOML: nested too deeply",)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("".join(f"k{i} = 1\n" for i in range(MANY)) + SPACE, MANY),
        (f"{SPACE}[data]\n" + "".join(f"image_siz{i} = 1\n" for i in range(2000)), 2000),
        (SPACE + "".join(f"drop{i} = [1]\n" for i in range(2000)), 2000),
        (
            f"{SPACE}[[baselines]]\nname = 'a'\n[baselines.settings]\n"
            + "".join(f"drop{i} = 1\n" for i in range(2000)),
            2000,
        ),
    ],
)
def test_thousands_of_unknown_keys_are_counted_and_some_of_them_shown(
    text: str, count: int
) -> None:
    error = refused(text)
    assert len(error.problems) == count
    assert len(error.shown) == 51
    assert error.shown[-1] == f"... and {count - 50:,} more"


@pytest.mark.slow
def test_long_lists_are_read_as_far_as_they_are_of_use() -> None:
    choices = ", ".join(f"{i}.5" for i in range(MANY))
    error = refused(f"[space]\nwarmup_epochs = [{choices}]\n")
    assert error.problems == ("space.warmup_epochs: has 20,000 items, at most 1,000 are read",)
    baselines = "".join(f"[[baselines]]\nname = 'a{i}'\n" for i in range(MANY))
    assert refused(SPACE + baselines).problems == (
        "baselines: has 20,000 items, at most 1,000 are read",
    )


def test_long_names_and_texts_are_cut_where_they_are_shown() -> None:
    assert len(str(refused("a" * 10**6 + " = 1\n" + SPACE))) < 400
    text = refused("model = {pretrained = '" + "a" * 10**6 + "'}\n" + SPACE)
    assert text.problems == ("model.pretrained: has more than 10,000 characters",)
    zero = refused(f'model = {{pretrained = "a\\u0000b"}}\n{SPACE}')
    assert zero.problems == ("model.pretrained: has a zero byte",)


@pytest.mark.parametrize("number", ["1e-2", "1E-2", "+1e-2", "1.e-2", "0.01"])
def test_yaml_reads_a_number_however_it_is_written(tmp_path: Path, number: str) -> None:
    path = tmp_path / "best.yaml"
    path.write_text(f"train: {{lr: {number}, breakpoints: [[1, {number}]]}}\n")
    train = read_config_file(path)[0].train
    assert (train.lr, train.breakpoints) == (0.01, ((1, 0.01),))


@pytest.mark.parametrize("form", ["toml", "yaml", "json"])
def test_a_name_that_looks_like_a_number_stays_one(
    tmp_path: Path, form: Literal["toml", "yaml", "json"]
) -> None:
    path = tmp_path / f"best.{form}"
    path.write_text(config_text(TrainConfig(), {"study": "1e5", "baseline": "12"}, {}, form))
    origin = read_config_file(path)[1]
    assert (origin.study, origin.baseline) == ("1e5", "12")


DOUBLING = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i}\n  <<: [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)
)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.yaml", DOUBLING, "no valid YAML: '<<' is not supported in "),
        ("a.yaml", "[" * 5_000, "no valid YAML: nested too deeply"),
        ("a.json", "[" * 100_000, "no valid JSON: nested too deeply"),
        (
            "a.yaml",
            "provenance: &p {environment: *p}",
            "provenance.environment.environment: must be text, a number or counts of pictures, ",
        ),
        ("a.json", '{"provenance": {"trial": "7"}}', "provenance.trial: must be a whole number"),
        ("a.json", '{"provenance": {"tria": 7}}', "provenance.tria: unknown key, did you mean"),
        (
            "a.json",
            '{"provenance": {"folder": "a\\u0000b"}}',
            "provenance.folder: has a zero byte",
        ),
        (
            "a.json",
            '{"provenance": {"recorded": {"metric": "__class__"}}}',
            "provenance.recorded.metric: unknown name '__class__', known: ",
        ),
        (
            "a.json",
            '{"provenance": {"recorded": {"curve": {"lr": [0.1, "x"]}}}}',
            "provenance.recorded.curve.lr: must be a list of numbers, not a list",
        ),
        (
            "a.json",
            '{"provenance": {"recorded": {"curve": {"__doc__": [0.1]}}}}',
            "provenance.recorded.curve.__doc__: unknown figure, known: ",
        ),
        (
            "a.json",
            '{"provenance": {"recorded": {"curve": {"lr": 0.1}}}}',
            "provenance.recorded.curve.lr: must be a list of numbers, not 0.1",
        ),
    ],
)
def test_hostile_configurations_are_a_line_each(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(StudyFileError) as caught:
        read_config_file(path)
    assert caught.value.problems[0].startswith(problem)
    assert caught.value.problems[0].isprintable()


def test_a_file_without_end_is_read_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optuna_study.definition.syntax.LARGEST", 2**20)
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(StudyFileError, match="is larger than 1 MiB"):
        read_study_file(path)
