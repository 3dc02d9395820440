from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from optuna_study.data.decode import thumbnail
from optuna_study.data.duplicates import group, near_pairs, perceptual_hashes
from optuna_study.data.folder.inspection import group_pictures, inspect_files
from optuna_study.data.folder.layout import list_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURES = Path(
    os.environ.get("OPTUNA_STUDY_TEST_PICTURES")
    or Path(__file__).parents[2].parent / "shared" / "datasets"
)


def scene(seed: int) -> Image.Image:
    coarse = np.random.RandomState(seed).randint(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC)


def compressed(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def groups_of(*images: Image.Image) -> list[int]:
    thumbnails = np.stack([thumbnail(image) for image in images])
    digests = [str(number) for number in range(len(images))]
    aspects = np.array([image.width / image.height for image in images])
    return [int(number) for number in group(digests, thumbnails, aspects)]


def test_compressed_and_scaled_copies_are_one_group() -> None:
    original = scene(1)
    copies = [compressed(original, 30), original.resize((120, 90)), compressed(original, 90)]
    assert groups_of(original, *copies, scene(2)) == [0, 0, 0, 0, 1]


def test_a_slightly_retouched_copy_is_near() -> None:
    retouched = scene(1)
    retouched.paste("white", (200, 150, 216, 162))
    assert groups_of(scene(1), retouched) == [0, 0]


def test_identical_bytes_are_one_group_whatever_they_look_like() -> None:
    thumbnails: NDArray[np.uint8] = np.random.RandomState(0).randint(
        0, 256, (4, 32, 32, 3), dtype=np.uint8
    )
    assert group(["x", "y", "x", "z"], thumbnails, np.ones(4)).tolist() == [0, 1, 0, 2]


def test_small_things_on_white_are_not_merged() -> None:
    """Such pictures mostly agree, so differences are held against what there is to see."""
    images = []
    for corner in (20, 90, 150):
        image = Image.new("RGB", (200, 200), "white")
        image.paste("black", (corner, corner, corner + 30, corner + 30))
        images.append(image)
    assert groups_of(*images) == [0, 1, 2]


def test_the_same_pattern_in_other_colours_is_not_merged() -> None:
    red, green, blue = scene(1).split()
    assert groups_of(scene(1), Image.merge("RGB", (blue, red, green))) == [0, 1]


def test_pictures_of_one_colour_are_near_only_in_the_same_colour() -> None:
    plain = [Image.new("RGB", (50, 50), colour) for colour in ("white", "#fefefe", "black")]
    assert groups_of(*plain) == [0, 0, 1]


def test_a_stretched_picture_is_another() -> None:
    assert groups_of(scene(1), scene(1).resize((240, 100))) == [0, 1]


def test_links_join_into_one_group() -> None:
    """A resembles B, B resembles C: all three must stay on one side."""
    first, last = scene(1), scene(1)
    middle = scene(1)
    middle.paste("white", (200, 150, 216, 162))
    last.paste("white", (200, 150, 216, 162))
    last.paste("black", (10, 10, 26, 22))
    assert len(set(groups_of(first, middle, last))) == 1


@pytest.mark.slow
def test_copies_are_found_among_twelve_thousand() -> None:
    """Every planted copy and nothing else, all pairs compared."""
    random = np.random.RandomState(3)
    coarse = random.randint(0, 256, (12_000, 8, 8, 3), dtype=np.uint8)
    thumbnails = coarse.repeat(4, axis=1).repeat(4, axis=2)
    copies = np.arange(0, 12_000, 1000)
    noisy = thumbnails[copies].astype(int) + random.randint(-6, 7, (12, 32, 32, 3))
    thumbnails[copies + 7] = np.clip(noisy, 0, 255).astype(np.uint8)
    found = near_pairs(thumbnails, np.ones(12_000))
    assert found.tolist() == [[start, start + 7] for start in copies.tolist()]


def test_hashes_do_not_change_with_brightness() -> None:
    thumbnails = np.stack([thumbnail(scene(seed)) // 2 for seed in range(5)])
    brighter: NDArray[np.uint8] = thumbnails + np.uint8(60)
    assert np.array_equal(perceptual_hashes(thumbnails), perceptual_hashes(brighter))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pictures_have_no_pairs(count: int) -> None:
    empty = np.zeros((count, 32, 32, 3), dtype=np.uint8)
    assert near_pairs(empty, np.ones(count)).shape == (0, 2)
    assert len(group(["a"] * count, empty, np.ones(count))) == count


@pytest.mark.pictures
@pytest.mark.slow
def test_groups_of_the_real_pokemon() -> None:
    if not (PICTURES / "pokemon").is_dir():
        pytest.skip(f"no real pictures at {PICTURES}")
    inspections = inspect_files(list_folder(PICTURES / "pokemon").files)
    groups = group_pictures(inspections)
    digests: dict[str, set[int]] = {}
    for each, number in zip(inspections, groups.tolist(), strict=True):
        digests.setdefault(each.file.digest, set()).add(number)
    assert len(inspections) == 1167
    assert len(digests) == 955
    assert all(len(numbers) == 1 for numbers in digests.values())
    # Another 22 pairs are near-identical; no group runs away by chaining.
    assert len(set(groups.tolist())) == 933
    assert np.bincount(groups).max() == 4
