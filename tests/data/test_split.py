from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optuna_study.data.folder.read import read_folder
from optuna_study.data.pictures import Pictures, Request
from optuna_study.data.split import Split, split
from optuna_study.paths import Workspace

PICTURES = Path(
    os.environ.get("OPTUNA_STUDY_TEST_PICTURES")
    or Path(__file__).parents[2].parent / "shared" / "datasets"
)


def pictures(
    counts: tuple[int, ...] = (200, 100, 50), copies: int = 1, fingerprint: str = "0a1b2c3d"
) -> Pictures:
    """Classes of these sizes, each `copies` neighbours one group."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return Pictures(
        images=np.zeros((len(labels), 1, 1, 1), dtype=np.uint8),
        labels=labels,
        groups=np.arange(len(labels), dtype=np.int64) // copies,
        classes=tuple(f"class{number}" for number in range(len(counts))),
        fingerprint=fingerprint,
    )


def sides(found: Split) -> list[list[int]]:
    return [side.tolist() for side in (found.train, found.validation, found.test)]


def test_a_fifth_is_held_out_and_a_fifth_of_the_rest_validates() -> None:
    found = split(pictures())
    assert [len(side) for side in sides(found)] == [224, 56, 70]
    assert sorted(index for side in sides(found) for index in side) == list(range(350))


def test_every_side_holds_the_classes_in_their_shares() -> None:
    data = pictures()
    for side, size in zip(sides(split(data)), (0.64, 0.16, 0.2), strict=True):
        assert np.bincount(data.labels[side]).tolist() == [
            round(count * size) for count in (200, 100, 50)
        ]


@pytest.mark.parametrize("copies", [2, 3, 7])
def test_no_group_crosses(copies: int) -> None:
    data = pictures((203, 101, 52), copies)
    groups = [set(data.groups[side].tolist()) for side in sides(split(data))]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


@pytest.mark.slow
def test_the_fingerprint_fixes_it() -> None:
    assert sides(split(pictures())) == sides(split(pictures()))
    assert sides(split(pictures())) != sides(split(pictures(fingerprint="ffffffff")))


@pytest.mark.parametrize("subset", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.slow
def test_a_subset_is_a_stratified_part_of_the_training_side(subset: float) -> None:
    data = pictures()
    whole, part = split(data), split(data, subset)
    assert len(part.train) == max(3, round(subset * 224))
    assert part.train.tolist() == whole.train[: len(part.train)].tolist()
    assert part.validation.tolist() == whole.validation.tolist()
    assert part.test.tolist() == whole.test.tolist()
    shares = np.bincount(data.labels[part.train], minlength=3)
    assert shares.min() >= 1
    assert np.abs(shares - len(part.train) * np.array([200, 100, 50]) / 350).max() <= 2


def test_the_smallest_classes_are_on_every_side() -> None:
    data = pictures((40, 5, 3))
    found = sides(split(data))
    assert 2 in data.labels[found[0]]
    assert all(1 in data.labels[side] for side in found)


@pytest.mark.parametrize("seed", range(20))
def test_small_odd_sets_leave_every_class_in_training(seed: int) -> None:
    """Three different pictures of a class suffice, however many copies each has."""
    random = np.random.RandomState(seed)
    labels: list[int] = []
    groups: list[int] = []
    for label in range(random.randint(2, 6)):
        for _ in range(random.choice([3, 4, 5, 8, 20])):
            copies = random.choice([1, 1, 2, 5])
            groups += [len(groups)] * copies
            labels += [label] * copies
    data = replace(
        pictures((len(labels),), fingerprint=f"{seed:08x}"),
        labels=np.array(labels, dtype=np.int64),
        groups=np.array(groups, dtype=np.int64),
        classes=tuple("abcdef"[: max(labels) + 1]),
    )
    found = sides(split(data))
    assert all(found)
    assert set(data.labels[found[0]].tolist()) == set(labels)
    held = [set(data.groups[side].tolist()) for side in found]
    assert sum(len(each) for each in held) == len(set(groups))


def test_pictures_in_order_are_cut_where_they_say() -> None:
    data = replace(pictures((6, 4)), sides=(5, 2, 3))
    assert sides(split(data)) == [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9]]
    assert split(data, 0.6).train.tolist() == [0, 1, 2]


@pytest.mark.pictures
@pytest.mark.slow
def test_no_group_of_the_real_pokemon_crosses(tmp_path: Path) -> None:
    if not (PICTURES / "pokemon").is_dir():
        pytest.skip(f"no real pictures at {PICTURES}")
    data = read_folder(PICTURES / "pokemon", Request(36, 36, Workspace(tmp_path)))
    found = split(data)
    assert len(set(data.groups.tolist())) == 933
    groups = [set(data.groups[side].tolist()) for side in sides(found)]
    assert sum(len(each) for each in groups) == 933
    contents = [{data.images[index].tobytes() for index in side} for side in sides(found)]
    assert not contents[0] & contents[1]
    assert not contents[0] & contents[2]
    assert not contents[1] & contents[2]
    shares = [len(side) / 1167 for side in sides(found)]
    assert shares == pytest.approx([0.64, 0.16, 0.2], abs=0.01)


def test_many_pictures_are_cut_alike_without_folds() -> None:
    data = pictures((9000, 6000, 3000), copies=3)
    found = split(data)
    assert sorted(index for side in sides(found) for index in side) == list(range(18_000))
    for side, share in zip(sides(found), (0.64, 0.16, 0.2), strict=True):
        assert np.bincount(data.labels[side]) == pytest.approx(
            [9000 * share, 6000 * share, 3000 * share], abs=9
        )
    groups = [set(data.groups[side].tolist()) for side in sides(found)]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert sides(split(data)) == sides(found)


@pytest.mark.parametrize("counts", [(200, 100, 50), (9000, 6000, 3000)])
def test_a_test_part_of_ones_own_is_held_out(counts: tuple[int, ...]) -> None:
    total = sum(counts)
    parts = np.where(np.arange(total) < total - 40, 0, 2).astype(np.int8)
    data = replace(pictures(counts), parts=parts)
    found = split(data)
    assert found.test.tolist() == list(range(total - 40, total))
    assert len(found.validation) == pytest.approx((total - 40) / 5, abs=2)
    everything = np.sort(np.concatenate([found.train, found.validation]))
    assert everything.tolist() == list(range(total - 40))
