from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from optuna_study.config.settings import ModelSettings
from optuna_study.training.build_model import build_model

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_valid_study_is_summed_up_in_a_line(cli: Callable[..., Any]) -> None:
    Path("digits.toml").write_text(
        "data = {name = 'digits', image_size = 32}\ntrain = {epochs = 8}\nsearch = {trials = 5}\n"
        "[space]\nactivation = ['relu', 'gelu']\n[[baselines]]\nname = 'plain'\n"
    )
    result = cli("validate", "digits.toml")
    assert result.code == 0
    assert result.out == (
        "digits.toml is valid: 1 dimension; 1 baseline; "
        "profile full: 5 trials of 8 epochs at 32 px; no profile cpu\n"
    )
    assert result.err == ""


def test_a_study_of_the_package_is_found_by_name(cli: Callable[..., Any]) -> None:
    result = cli("validate", "alexnet_pokemon")
    assert result.code == 0
    assert "alexnet_pokemon.toml is valid: 15 dimensions; 15 baselines, 5 of " in result.out


def test_every_problem_is_printed(cli: Callable[..., Any]) -> None:
    Path("bad.toml").write_text("titel = 1\n[space]\nlr = {low = 1, high = 0.1}\n")
    result = cli("validate", "bad.toml")
    assert result.code == 2
    assert result.out == ""
    assert result.err == (
        "Error: bad.toml has 2 problems:\n"
        "  titel: unknown key, did you mean 'title'?\n"
        "  space.lr: low must be below high, not 1 and 0.1\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[space]\nlr = = 1\n",
            "Error: bad.toml: no valid TOML: Invalid value (at line 2, column 6)\n",
        ),
        ("", "Error: bad.toml: space: is empty: name at least one setting to search\n"),
    ],
)
def test_one_problem_is_one_line(cli: Callable[..., Any], text: str, message: str) -> None:
    Path("bad.toml").write_text(text)
    result = cli("validate", "bad.toml")
    assert (result.code, result.out, result.err) == (2, "", message)


@pytest.mark.parametrize(
    "naming",
    [
        "[model]\npretrained = 'junk.pth'",
        "[profile.cpu.model]\npretrained = 'junk.pth'",
        "[[baselines]]\nname = 'tuned'\nsettings = {pretrained = 'junk.pth'}",
        "[space.pretrained]\nchoices = ['none', 'junk.pth']",
    ],
)
def test_pretrained_weights_are_read(cli: Callable[..., Any], naming: str) -> None:
    Path("junk.pth").write_bytes(b"e")
    Path("tuned.toml").write_text(
        "data = {name = 'rendered', image_size = 128}\n"
        f"[space]\nlr = {{low = 0.001, high = 0.1}}\n{naming}\n"
    )
    result = cli("validate", "tuned.toml")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "Error: junk.pth: damaged, or more than weights, such as a whole model; save the model's "
        "state_dict() with torch.save\n"
    )


@pytest.mark.parametrize(
    ("data", "channels", "code"),
    [
        ("name = 'digits'", 1, 0),
        ("name = 'digits'", 3, 2),
        ("name = 'mnist'", 1, 0),
        ("name = 'rendered'", 1, 2),
        ("name = 'folder'\nfolder = 'scans'", 1, 0),
        ("name = 'folder'\nfolder = 'scans'", 3, 0),
        ("name = 'folder'\nfolder = 'scans'", 2, 2),
    ],
)
def test_pretrained_weights_are_of_as_many_channels_as_the_pictures(
    cli: Callable[..., Any], data: str, channels: int, code: int
) -> None:
    model = build_model(ModelSettings(width=0.1), channels=channels, image_size=64, classes=10)
    torch.save(model.state_dict(), "weights.pth")
    Path("tuned.toml").write_text(
        f"[data]\n{data}\nimage_size = 64\n[model]\nwidth = 0.1\npretrained = 'weights.pth'\n"
        "[space]\nlr = {low = 0.001, high = 0.1}\n"
    )
    result = cli("validate", "tuned.toml")
    assert result.code == code, result.err
    assert result.err.startswith("Error: weights.pth: ") if code else result.err == ""


def test_an_unknown_study_is_not_found(cli: Callable[..., Any]) -> None:
    result = cli("validate", "alexnet_pokemn")
    assert result.code == 4
    assert "did you mean 'alexnet_pokemon'?" in result.err
    assert len(result.err.splitlines()) == 1
    assert cli("validate", "studies/none.toml").code == 4


def test_torch_and_optuna_are_not_loaded() -> None:
    script = (
        "import sys\n"
        "from optuna_study.cli.main import run\n"
        "assert run(['validate', 'alexnet_pokemon']) == 0\n"
        "sys.exit(bool({'torch', 'optuna', 'sqlalchemy', 'sklearn'} & sys.modules.keys()))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
