from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from optuna_study.data.folder.check import Copies, check_folder
from optuna_study.errors import DataError
from optuna_study.report.data_pages import to_text

PICTURES = Path(
    os.environ.get("OPTUNA_STUDY_TEST_PICTURES")
    or Path(__file__).parents[3].parent / "shared" / "datasets"
)


def picture(seed: int) -> Image.Image:
    coarse = np.random.RandomState(seed).randint(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((120, 90), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of five different pictures."""
    root = tmp_path / "pictures"
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(5):
            picture(10 * label + number).save(root / name / f"{number}.png")
    return root


def test_a_good_folder_has_no_problems(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    report = check_folder(Path("pictures"))
    assert report.classes == report.different == {"cat": 5, "dog": 5}
    assert report.parts == {"training": 6, "validation": 2, "test": 2}
    assert report.imbalance == 1.0
    assert (report.left_out, report.problems, report.remarks) == ((), (), ())
    assert to_text(report) == (
        "pictures: 10 pictures\n"
        "\n"
        "class  pictures  different\n"
        "cat           5          5\n"
        "dog           5          5\n"
        "largest by smallest class: 1.00\n"
        "training 6, validation 2, test 2\n"
        "\n"
        "No problems found."
    )


def test_everything_wrong_is_reported(folder: Path) -> None:
    shutil.copy(folder / "cat/0.png", folder / "cat/copy.png")
    shutil.copy(folder / "cat/1.png", folder / "dog/cat.png")
    picture(12).save(folder / "dog/near.jpg", quality=40)
    picture(3).save(folder / "dog/wrong.jpg", quality=40)
    for number in range(100, 106):
        picture(number).save(folder / "dog" / f"{number}.png")
    (folder / "cat/empty.png").write_bytes(b"")
    picture(200).convert("CMYK").save(folder / "dog/cmyk.jpg")
    report = check_folder(folder)
    assert report.classes == {"cat": 6, "dog": 15}
    assert report.different == {"cat": 5, "dog": 14}
    assert report.imbalance == 2.5
    assert report.unreadable == ("cat/empty.png: not a picture (0 bytes)",)
    assert report.mended == ("dog/cmyk.jpg: CMYK colours turned into RGB",)
    assert report.identical == (
        Copies(("cat/0.png", "cat/copy.png"), across_labels=False),
        Copies(("cat/1.png", "dog/cat.png"), across_labels=True),
    )
    assert report.near_identical == (
        Copies(("cat/3.png", "dog/wrong.jpg"), across_labels=True),
        Copies(("dog/2.png", "dog/near.jpg"), across_labels=False),
    )
    assert report.problems == (
        "the largest class has 2.5 times the pictures of the smallest",
        "unreadable as pictures: 1",
        "2 groups of byte-identical pictures, 1 of them across labels",
        "2 groups of near-identical pictures, 1 of them across labels",
    )
    text = to_text(report)
    assert "Byte-identical, different labels (1):\n  cat/1.png = dog/cat.png\n" in text
    assert "Near-identical, same label (1):\n  dog/2.png = dog/near.jpg\n" in text
    assert text.endswith(report.problems[-1])


def test_too_few_classes_and_pictures_are_problems(folder: Path) -> None:
    shutil.rmtree(folder / "dog")
    for number in (0, 1, 2):
        (folder / f"cat/{number}.png").unlink()
    assert check_folder(folder).problems == (
        "1 class; a classifier needs at least two",
        "class 'cat' has 2 different pictures, fewer than 3",
    )


def test_a_class_of_broken_files_counts_none(folder: Path) -> None:
    for path in (folder / "dog").iterdir():
        path.write_bytes(b"x")
    report = check_folder(folder)
    assert report.classes == {"cat": 5, "dog": 0}
    assert report.problems == (
        "class 'dog' has 0 different pictures, fewer than 3",
        "unreadable as pictures: 5",
    )


def test_an_empty_folder_is_a_problem(tmp_path: Path) -> None:
    report = check_folder(tmp_path)
    assert report.problems == ("no class; a classifier needs at least two",)
    assert "0 pictures" in " ".join(to_text(report).split())  # where a line ends, the path decides


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        check_folder(tmp_path / "missing")


def test_long_lists_are_cut_in_the_text(folder: Path) -> None:
    for number in range(25):
        (folder / "cat" / f"broken{number:02}.png").write_bytes(b"")
    report = check_folder(folder)
    assert len(report.unreadable) == 25
    text = to_text(report)
    assert "broken19" in text
    assert "broken20" not in text
    assert "  and 5 more; -f json lists all" in text


@pytest.mark.pictures
@pytest.mark.slow
def test_the_real_sets_have_their_known_copies() -> None:
    if not (PICTURES / "pokemon").is_dir():
        pytest.skip(f"no real pictures at {PICTURES}")
    report = check_folder(PICTURES / "pokemon")
    assert sum(report.classes.values()) == 1167
    assert len(report.identical) == 203
    assert sum(each.across_labels for each in report.identical) == 10
    assert len(report.near_identical) == 22
    assert report.unreadable == ()
