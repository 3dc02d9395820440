from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of four pictures each, in a folder whose name needs care."""
    folder = tmp_path / 'my "pictures"'
    for index, label in enumerate(("cats", "dogs")):
        (folder / label).mkdir(parents=True)
        for number in range(4):
            colour = (60 * number, 90 * index, 0)
            Image.new("RGB", (64, 48), colour).save(folder / label / f"{number}.png")
    return folder


@pytest.mark.slow
def test_the_written_study_is_valid_as_it_is(cli: Callable[..., Any], pictures: Path) -> None:
    result = cli("init", "pets", "--data", str(pictures))
    assert result.code == 0
    assert result.out == (
        "studies/pets.toml: 2 classes, 8 pictures, 48 px on the shorter side; "
        "next: optuna-study launch pets\n"
    )
    checked = cli("validate", "pets")
    assert checked.code == 0
    assert checked.out.startswith("studies/pets.toml is valid: ")


def test_an_existing_study_is_left_alone(cli: Callable[..., Any], pictures: Path) -> None:
    Path("studies").mkdir()
    Path("studies/pets.toml").write_text("mine")
    result = cli("init", "pets", "--data", str(pictures))
    assert result.code == 2
    assert result.err == (
        "Error: studies/pets.toml: exists already; choose another name, or remove it first\n"
    )
    assert Path("studies/pets.toml").read_text() == "mine"


@pytest.mark.parametrize("name", ["../pets", "/tmp/pets", "pets@cpu", "a b"])
def test_a_name_never_leaves_the_folder(
    cli: Callable[..., Any], pictures: Path, name: str
) -> None:
    result = cli("init", name, "--data", str(pictures))
    assert result.code == 2
    assert "cannot be the name of a study" in result.err
    assert not Path("studies").exists()


def test_bad_folders_are_one_line(cli: Callable[..., Any], pictures: Path) -> None:
    for bad in (pictures / "cats", pictures / "none", pictures / "cats" / "0.png"):
        result = cli("init", "pets", "--data", str(bad))
        assert result.code == 2
        assert len(result.err.splitlines()) == 1
    assert not Path("studies").exists()


def test_the_folder_has_to_be_given(cli: Callable[..., Any]) -> None:
    result = cli("init", "pets")
    assert result.code == 2
    assert "--data" in result.err
