"""What version 0.1.0 made is read by this one; it stands in `tests/kept/0.1.0`.

That version launched the study files there, on digits, spirals and stripes of its own. Studies are
done, halted, paused, stopped or registered only, and of one the worker was killed; there is a
trial of every kind of end. `expected.json` holds what its commands said of them.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.definition.config_file import read_config_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEPT = Path(__file__).parents[1] / "kept" / "0.1.0"
EXPECTED: dict[str, Any] = json.loads((KEPT / "expected.json").read_text(encoding="utf-8"))
MAIN, REGISTERED, PAUSED = "keepsake@cpu-digits", "registered@cpu", "paused@cpu"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which what was kept lies where commands look for it."""
    shutil.copytree(KEPT, tmp_path, dirs_exist_ok=True)
    (tmp_path / "keepsake_own.txt").rename(tmp_path / "keepsake_own.py")
    checkpoint = tmp_path / EXPECTED["checkpoint"]["place"]
    checkpoint.parent.mkdir(parents=True)
    (tmp_path / "checkpoint.pt").rename(checkpoint)
    (tmp_path / "studies.db").rename(tmp_path / "storage" / "studies.db")
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in EXPECTED["environment"].items():
        monkeypatch.setenv(name, value)
    time.tzset()
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def upgraded(folder: Path, cli: Callable[..., Any]) -> Path:
    """The folder, its store upgraded."""
    assert cli("list").code == 5
    assert "`optuna-study doctor --fix " in cli("list").err
    assert cli("doctor", REGISTERED, "--fix").code == 0
    return folder


def said(*commands: str) -> list[dict[str, Any]]:
    """What these commands said in JSON then."""
    return [each for each in EXPECTED["said"] if each["arguments"][0] in commands]


def without_advice(row: Any) -> Any:
    """What was said, but for sentences made anew; of an estimate, whether there is one."""
    if isinstance(row, list):
        return [without_advice(each) for each in row]
    if isinstance(row, dict):
        kept = {name: each for name, each in row.items() if name not in ("cause", "advice")}
        if "seconds_left" in kept:
            kept["seconds_left"] = kept["seconds_left"] is not None
        return {name: without_advice(each) for name, each in kept.items()}
    return row


def in_the_fields_of(then: Any, now: Any) -> Any:
    """What is said now, without the fields that have come since."""
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [in_the_fields_of(*each) for each in zip(then, now, strict=True)]
    if isinstance(then, dict) and isinstance(now, dict):
        return {
            name: in_the_fields_of(value, now[name]) for name, value in then.items() if name in now
        }
    return now


@pytest.mark.slow
def test_studies_and_trials_are_read(upgraded: Path, cli: Callable[..., Any]) -> None:
    assert len(said("list", "show", "trials")) > 30
    for then in said("list", "show", "trials"):
        now = cli(*then["arguments"])
        assert now.code == then["code"], then
        stands = in_the_fields_of(then["stdout"], json.loads(now.out))
        assert without_advice(stands) == without_advice(then["stdout"]), then


@pytest.mark.slow
def test_doctor_finds_the_same(upgraded: Path, cli: Callable[..., Any]) -> None:
    for then in said("doctor"):
        if then["arguments"][1] in ("-f", REGISTERED):
            continue
        now = cli(*then["arguments"])
        before, after = then["stdout"], json.loads(now.out)
        # Curves of single trials were findings in 0.1.0.
        assert now.code == int(any(not line["ok"] for line in after["lines"]))
        assert without_advice(after["curves"]) == without_advice(before["curves"])
        others = ("machine", "curves")  # what a machine is, and what is a finding no longer
        found, kept = (
            [(line["check"], line["ok"]) for line in lines if line["check"] not in others]
            for lines in (after["lines"], before["lines"])
        )
        assert found == kept


def test_a_divergence_of_an_earlier_version_is_advised_on(
    upgraded: Path, cli: Callable[..., Any]
) -> None:
    curves = json.loads(cli("doctor", MAIN, "-f", "json").out)["curves"]
    lost = [each for each in curves if each["trial"] in (4, 5)]
    assert [each["pattern"] for each in lost] == ["diverging", "diverging"]
    for each in lost:
        assert each["cause"].endswith(" at learning rate 100.")
        assert each["advice"].startswith("Lower the learning rate from 100 to 10 or less;")


def test_an_error_of_an_earlier_version_is_one_finding(
    upgraded: Path, cli: Callable[..., Any]
) -> None:
    found = json.loads(cli("doctor", "halted@cpu", "-f", "json").out)["lines"]
    [failed] = [line["what"] for line in found if line["what"].startswith("failed: ")]
    assert failed == "failed: trials 0, 1, 2, 3: ValueError: no third epoch | of this one:"


def test_study_files_are_read(folder: Path, cli: Callable[..., Any]) -> None:
    for name in ("keepsake.toml", "ends.toml", "halted.toml", "slow.toml"):
        assert cli("validate", name).code == 0, name


def test_a_model_predicts_as_it_did(folder: Path, cli: Callable[..., Any]) -> None:
    [then] = said("predict")
    now = cli(*then["arguments"])
    assert now.code == then["code"] == 0
    for before, after in zip(then["stdout"], json.loads(now.out), strict=True):
        assert (after["image"], after["class"]) == (before["image"], before["class"])
        assert after["probabilities"] == pytest.approx(before["probabilities"], abs=1e-4)


def test_every_form_of_an_exported_configuration_is_read_alike(folder: Path) -> None:
    forms = [read_config_file(folder / f"config.{form}") for form in ("toml", "yaml", "json")]
    assert forms[0] == forms[1] == forms[2]


@pytest.mark.slow
def test_an_exported_configuration_trains_as_it_did(folder: Path, cli: Callable[..., Any]) -> None:
    result = cli("train", "config.toml", "-o", "trained", "--verify", "--device", "cpu")
    assert result.code == 0, result.err


@pytest.mark.slow
def test_a_trial_is_resumed_from_its_checkpoint(folder: Path, cli: Callable[..., Any]) -> None:
    trial = EXPECTED["checkpoint"]["trial"]
    command = ("launch", "slow.toml", "--name", "paused", "--n-trials", str(trial + 1))
    launched = cli(*command, "--workers", "1", "--device", "cpu")
    assert launched.code == 0, launched.err
    row = json.loads(cli("show", PAUSED, "--trial", str(trial), "-f", "json").out)
    [then] = [each for each in EXPECTED["continued"] if each["number"] == trial]
    assert (row["state"], row["epochs"], row["claims"]) == ("COMPLETE", then["epochs"], 2)
    assert row["value"] == pytest.approx(then["value"], abs=0.05)
    assert any("begins after epoch" in line and "epoch 0" not in line for line in row["log"])
