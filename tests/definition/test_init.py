from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from optuna_study.definition.init import (
    Survey,
    batch_sizes_for,
    study_file_text,
    study_of_folder,
    survey_folder,
    write_study_file,
)
from optuna_study.definition.read import parse_study_file, read_study_file
from optuna_study.definition.resolve import baseline_config, outline, resolve
from optuna_study.errors import DataError, FolderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of class folders, each with as many different pictures as asked for."""

    def make(side: int = 40, **counts: int) -> Path:
        folder = tmp_path / "pictures"
        for index, (label, count) in enumerate(counts.items()):
            (folder / label).mkdir(parents=True)
            for number in range(count):
                colour = (10 * number % 256, 80 * index % 256, number // 25)
                picture = Image.new("RGB", (side, side + 8), colour)
                picture.save(folder / label / f"{number}.png")
        return folder

    return make


def test_a_folder_is_surveyed(pictures: Callable[..., Path]) -> None:
    folder = pictures(side=40, cats=5, dogs=4)
    (folder / "cats" / "broken.png").write_bytes(b"no picture")
    (folder / "readme.txt").write_text("not in a class")
    notes = ("9 used, 2 left out: 1 not a picture, 1 unreadable",)
    assert survey_folder(folder) == Survey(("cats", "dogs"), 9, 40, notes, 1.2)


def test_folders_of_many_pictures_are_finetuned_on_a_cpu(tmp_path: Path) -> None:
    path, stages = tmp_path / "pets.toml", []
    for count in (780, 790):
        text = study_file_text("pets", tmp_path, Survey(("cats", "dogs"), count, 240, (), 1.0))
        path.write_text(text, encoding="utf-8")
        file = read_study_file(path)
        full = resolve(file, "full")
        assert full.second_stage is None
        (last_stage,) = (each for each in full.baselines if each.name == "last-stage")
        sizes = baseline_config(full, last_stage).data
        assert (sizes.training_size, sizes.image_size) == (160, 224)
        stages.append(resolve(file, "cpu").second_stage)
    few, stage = stages
    assert few is None
    assert stage is not None
    assert (stage.model.train_layers, stage.train.threads) == ("half", 2)
    assert (stage.data.training_size, stage.data.image_size) == (128, 160)


def test_the_file_is_written_complete_and_valid(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    folder = pictures(cats=5, dogs=4)
    written = write_study_file("pets", folder, tmp_path / "studies")
    assert written.path == tmp_path / "studies" / "pets.toml"
    assert written.found == "2 classes, 9 pictures, 40 px on the shorter side"
    file = read_study_file(written.path)
    assert file.folder == str(folder)
    assert file.title == "pets: cats, dogs"
    cpu = resolve(file, "cpu")
    assert cpu.name == "pets@cpu"
    assert cpu.search.trials == 30
    assert (cpu.config.model.train_layers, cpu.config.data.views) == ("head", 2)
    assert cpu.second_stage is None
    assert [each.name for each in cpu.baselines] == [
        "logistic-head",
        "head-dropout",
        "last-stage",
        "alexnet-from-scratch",
    ]


def test_a_relative_folder_is_written_whole(
    pictures: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pictures(cats=5, dogs=4)
    monkeypatch.chdir(tmp_path)
    written = write_study_file("pets", Path("pictures"))
    assert read_study_file(written.path).folder == str(folder)


def test_a_folder_has_one_study_file_named_after_it(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    folder = pictures(cats=5, dogs=4).rename(tmp_path / "my pets!")
    path, written = study_of_folder(folder, tmp_path / "studies")
    assert path == tmp_path / "studies" / "my-pets.toml"
    assert written is not None
    assert study_of_folder(folder, tmp_path / "studies") == (path, None)
    other = tmp_path / "other" / "my pets!"
    other.parent.mkdir()
    folder.rename(other)
    with pytest.raises(UsageError, match="is about other pictures; give this folder's study a"):
        study_of_folder(other, tmp_path / "studies")


def test_long_pictures_are_padded(tmp_path: Path) -> None:
    for label in ("cats", "dogs"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(4):
            picture = Image.new("RGB", (300, 150), (10 * number, len(label), number))
            picture.save(tmp_path / "pets" / label / f"{number}.png")
    survey = survey_folder(tmp_path / "pets")
    assert (survey.shorter_side, survey.elongation) == (150, 2.0)
    assert '\nfit = "pad"' in study_file_text("pets", tmp_path / "pets", survey)


def test_nothing_is_overwritten(pictures: Callable[..., Path], tmp_path: Path) -> None:
    folder = pictures(cats=5, dogs=4)
    written = write_study_file("pets", folder, tmp_path)
    written.path.write_text("mine")
    with pytest.raises(UsageError, match="exists already; choose another name"):
        write_study_file("pets", folder, tmp_path)
    assert written.path.read_text() == "mine"


@pytest.mark.parametrize("name", ["../pets", "a/b", "", "-x", "a b", ".."])
def test_bad_names_are_refused(pictures: Callable[..., Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a study"):
        write_study_file(name, pictures(cats=5, dogs=4), tmp_path / "studies")
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({"cats": 5}, "only one class, 'cats'"),
        ({"cats": 5, "dogs": 1}, "class 'dogs' has 1 picture"),
        ({}, "no such folder"),
    ],
)
def test_folders_that_cannot_be_learned_from(
    pictures: Callable[..., Path], tmp_path: Path, counts: dict[str, int], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        write_study_file("pets", pictures(**counts), tmp_path / "studies")
    assert not (tmp_path / "studies").exists()


def test_a_folder_without_a_readable_picture(tmp_path: Path) -> None:
    for label in ("cats", "dogs"):
        (tmp_path / label).mkdir()
        for number in range(4):
            (tmp_path / label / f"{number}.jpg").write_bytes(f"{label}{number}".encode())
    with pytest.raises(DataError, match="none of its 8 files can be read as a picture"):
        survey_folder(tmp_path)


def test_a_file_where_the_folder_should_be(pictures: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "studies").write_text("")
    with pytest.raises(FolderError, match="cannot be written"):
        write_study_file("pets", pictures(cats=5, dogs=4), tmp_path / "studies")


@given(
    folder=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    classes=st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=8),
    pictures=st.integers(6, 10**6),
    side=st.integers(1, 10**4),
)
@pytest.mark.slow
def test_any_folder_gives_a_valid_file(
    folder: str, classes: list[str], pictures: int, side: int
) -> None:
    survey = Survey(tuple(classes), pictures, side)
    file = parse_study_file(study_file_text("pets", Path("/") / folder, survey), "pets")
    assert file.folder == str(Path("/") / folder)
    for profile in ("full", "cpu"):
        config = resolve(file, profile).config
        assert config.data.image_size == (128 if side < 100 else 160 if profile == "cpu" else 224)
        training = pictures * 0.64 * config.data.subset
        if profile == "cpu":
            assert training * config.data.views <= max(4_000, pictures * 0.0064) * 1.01


def test_sizes_follow_the_pictures() -> None:
    assert batch_sizes_for(5_000) == (16, 32, 64)


def test_the_outline_says_what_a_file_holds(small: str) -> None:
    assert outline(parse_study_file(small, "small")) == (
        "7 dimensions; 3 baselines; profile full: 30 trials of 150 epochs at 32 px; "
        "profile cpu: 30 trials of 15 epochs at 32 px"
    )
    compared = small.replace('group = "lr"', 'group = "lr"\nin_search = false')
    assert "3 baselines, 1 of them for comparisons alone; " in outline(
        parse_study_file(compared, "small")
    )
    without = small.replace("[profile.cpu.train]\nepochs = 15\n", "")
    assert outline(parse_study_file(without, "small")).endswith("; no profile cpu")
