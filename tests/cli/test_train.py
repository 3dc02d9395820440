"""`train`, `train --verify` and `predict`, on a net of a few weights and drawn pictures."""

from __future__ import annotations

import csv
import json
import shutil
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.cli.main import run
from optuna_study.config.settings import DataSettings, ModelSettings, TrainConfig, TrainSettings
from optuna_study.config.text import config_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = TrainConfig(
    DataSettings(name="digits", image_size=16, subset=0.3),
    ModelSettings(width=0.05, dropout=0.1),
    TrainSettings(epochs=2, batch_size=16, lr=0.05, seed=11, threads=1),
)


@pytest.fixture(scope="module")
def first_training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a first training, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "plain.toml").write_text(config_text(CONFIG, {}, {}), encoding="utf-8")
    out, err = StringIO(), StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        code = run(["train", "plain.toml", "-o", "first", "--device", "cpu"])
    assert (code, err.getvalue().count("epoch ")) == (0, 2)
    return folder, out.getvalue()


@pytest.fixture
def trained(first_training: tuple[Path, str], cli: Callable[..., Any], tmp_path: Path) -> Any:
    """What a first training printed, and a configuration that says what it reached."""
    folder, printed = first_training
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "first/curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    curve = {
        name: [float(row[name]) for row in rows]
        for name in rows[0]
        if name not in ("seconds", "epoch")
    }
    figures = json.loads((tmp_path / "first/result.json").read_text(encoding="utf-8"))
    recorded = {
        "metric": "validation_accuracy",
        "value": figures["validation_accuracy"],
        "curve": {"epoch": [1, 2], **curve},
    }
    origin = {"study": "s", "trial": 3, "environment": figures["environment"]}

    def write(**changes: Any) -> None:
        text = config_text(CONFIG, {**origin, **changes}, recorded)
        (tmp_path / "best.toml").write_text(text, encoding="utf-8")

    write()
    return printed, write, recorded


@pytest.mark.slow
def test_train_leaves_model_curve_figures_and_configuration(trained: Any, tmp_path: Path) -> None:
    printed, _, _ = trained
    assert "test accuracy" in printed
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == [
        "config.toml",
        "curve.csv",
        "model.pt",
        "result.json",
    ]
    figures = json.loads((tmp_path / "first/result.json").read_text(encoding="utf-8"))
    assert figures["epochs"] == 2
    assert 0 <= figures["test_accuracy"] <= 1


@pytest.mark.slow
def test_verify_is_equal_to_the_last_bit_on_this_machine(
    trained: Any, cli: Callable[..., Any]
) -> None:
    result = cli("train", "best.toml", "-o", "second", "--verify")
    assert result.code == 0
    assert result.out.endswith("Verified: value and all 2 epochs agree to the last bit.\n")


@pytest.mark.slow
def test_verify_that_differs_ends_with_1_and_says_where(
    trained: Any, cli: Callable[..., Any]
) -> None:
    _, write, recorded = trained
    recorded["curve"]["train_loss"][1] += 1e-9
    write()
    result = cli("train", "best.toml", "-o", "second", "--verify")
    assert result.code == 1
    last = result.err.splitlines()[-1]
    assert last.startswith("Error: differs from what the search recorded: epoch 2: train_loss is ")


@pytest.mark.slow
def test_verify_elsewhere_says_what_differs_and_compares_within_a_tolerance(
    trained: Any, cli: Callable[..., Any]
) -> None:
    _, write, _ = trained
    write(environment={"torch": "1.0", "device": "cpu", "threads": 1})
    result = cli("train", "best.toml", "-o", "second", "--verify")
    assert result.code == 0
    assert "Verified: not comparable to the last bit (torch was 1.0, is " in result.out
    assert "within 3 standard errors" in result.out


@pytest.mark.slow
def test_verify_refuses_other_pictures(trained: Any, cli: Callable[..., Any]) -> None:
    _, write, _ = trained
    write(fingerprint="another")
    result = cli("train", "best.toml", "-o", "second", "--verify")
    assert result.code == 2
    assert "not the pictures that the search used" in result.err.splitlines()[-1]


@pytest.mark.slow
def test_verify_needs_something_recorded(trained: Any, cli: Callable[..., Any]) -> None:
    result = cli("train", "plain.toml", "-o", "second", "--verify")
    assert result.code == 2
    assert result.err == (
        "Error: plain.toml: holds no recorded curve to verify; export it again\n"
    )


@pytest.mark.slow
def test_predict_gives_the_probability_of_every_class(
    trained: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    from PIL import Image

    Image.new("L", (20, 20), 128).save(tmp_path / "grey.png")
    result = cli("predict", "first/model.pt", "grey.png", "grey.png", "-f", "json")
    assert (result.code, result.err) == (0, "")
    first, second = json.loads(result.out)
    assert first == second
    assert first["image"] == "grey.png"
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert first["class"] == max(first["probabilities"], key=first["probabilities"].get)
    lines = cli("predict", "first/model.pt", "grey.png").out.splitlines()
    assert lines[0].split() == ["picture", "class", "probability", "next"]
    assert lines[1].split()[:2] == ["grey.png", first["class"]]


@pytest.mark.slow
def test_predict_of_something_that_is_no_model(trained: Any, cli: Callable[..., Any]) -> None:
    result = cli("predict", "first/curve.csv", "first/curve.csv")
    assert result.code == 2
    assert result.err.startswith("Error: first/curve.csv: not a checkpoint of this program")
