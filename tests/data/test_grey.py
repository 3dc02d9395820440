"""Grey pictures of more than 8 bits: one range for a data set, and pixels that are no number."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import folders
import numpy as np
import pytest
from PIL import Image

from optuna_study.data.decode import decode
from optuna_study.data.folder.inspection import measure_greys
from optuna_study.data.folder.layout import list_folder
from optuna_study.data.folder.read import read_folder
from optuna_study.data.grey import find_ranges
from optuna_study.data.pictures import Request
from optuna_study.paths import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def read_in_order(root: Path) -> dict[str, NDArray[np.uint8]]:
    """Each file's pixels at its own size, as a data set has them."""
    listing = list_folder(root)
    ranges = measure_greys(listing.files).ranges
    return {
        file.name: decode(file.path, 48, 1, ranges=ranges)[0].squeeze() for file in listing.files
    }


@pytest.mark.parametrize("top", [1023, 4095, 65535])
def test_a_set_shares_one_range(tmp_path: Path, top: int) -> None:
    folders.deep(tmp_path, top)
    pictures = read_in_order(tmp_path)
    bright, dark = pictures["cell/01.png"], pictures["cell/00.png"]
    assert len(np.unique(bright)) >= 180
    assert 60 <= len(np.unique(dark)) <= 100
    for number in range(0, 10, 2):
        truth = folders.greys(number) * 0.35 * 255
        kept = pictures[f"cell/{number:02}.png"].astype(np.float64)
        assert kept.mean() == pytest.approx(truth.mean(), rel=0.1)


def test_pictures_of_8_bits_stay_as_they_are(tmp_path: Path) -> None:
    folders.deep(tmp_path, 4095, mixed=True)
    pictures = read_in_order(tmp_path)
    with Image.open(tmp_path / "cell" / "07.png") as image:
        assert np.array_equal(pictures["cell/07.png"], np.asarray(image))
    assert pictures["cell/01.png"].max() == 255


def test_a_hot_pixel_moves_no_range(tmp_path: Path) -> None:
    folders.deep(tmp_path, 1023)
    before = measure_greys(list_folder(tmp_path).files).ranges
    for path in sorted(tmp_path.rglob("*.png")):
        values = np.asarray(Image.open(path)).copy()
        values[5, 5] = 65535
        folders.save(path, values)
    after = measure_greys(list_folder(tmp_path).files).ranges
    assert after["whole"][1] == pytest.approx(before["whole"][1], rel=0.05)


def test_fractions_from_0_to_1_are_taken_as_they_are(tmp_path: Path) -> None:
    folders.fractions(tmp_path)
    pictures = read_in_order(tmp_path)
    assert pictures["dark/0.tif"].max() == round(0.15 * 255)
    assert pictures["bright/0.tif"].max() == 255


@pytest.mark.parametrize(("name", "number"), [("nan", 0), ("inf", 1), ("far", 2)])
def test_a_pixel_that_is_no_number_is_lost_alone(tmp_path: Path, name: str, number: int) -> None:
    folders.fractions(tmp_path)
    lost = read_in_order(tmp_path)[f"dark/{name}.tif"]
    folders.save(
        tmp_path / "dark" / f"{name}.tif", folders.greys(500 + number).astype("f4") * 0.15
    )
    whole = read_in_order(tmp_path)[f"dark/{name}.tif"]
    assert np.argwhere(lost != whole).tolist() in ([[3, 3]], [])


def test_files_with_odd_pixels_are_named(tmp_path: Path) -> None:
    folders.fractions(tmp_path / "given")
    request = Request(16, 18, Workspace(tmp_path / "storage"))
    notes = read_folder(tmp_path / "given", request).notes
    assert "dark/nan.tif: 1 pixel not a number" in notes
    assert "dark/inf.tif: 1 pixel infinite" in notes
    assert "dark/far.tif: 1 pixel far out of range (-9999)" in notes


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.linspace(30_000, 31_000, 5001), (30_001, 30_999)),  # a camera of heat
        (np.linspace(-1000, 3000, 4001), (-996, 2996)),  # a scanner's units
        (np.zeros(100), (0, 1)),
    ],
)
def test_a_range_far_from_zero_begins_where_values_do(
    values: NDArray[np.float64], expected: tuple[float, float]
) -> None:
    assert find_ranges([("whole", values)])["whole"] == expected


def test_the_range_is_part_of_what_a_study_is(tmp_path: Path) -> None:
    read = partial(read_folder, request=Request(16, 18, Workspace(tmp_path / "storage")))
    folders.deep(tmp_path / "given", 1023)
    listing = list_folder(tmp_path / "given")
    pictures = read(tmp_path / "given")
    assert pictures.fingerprint != listing.fingerprint
    assert pictures.grey_ranges == measure_greys(listing.files).ranges
    assert read(tmp_path / "given").grey_ranges == pictures.grey_ranges
