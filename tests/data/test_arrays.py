"""Pictures in .npz files: the test part they bring, and whatever may be wrong with them."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from optuna_study.config.settings import DataSettings
from optuna_study.data.availability import is_here, way_to_get
from optuna_study.data.load import open_pictures
from optuna_study.data.overview import data_sets, overview
from optuna_study.errors import DataError
from optuna_study.paths import Workspace
from optuna_study.training.device_data import load_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

COUNT, TESTED = 100, 30


def pictures_of(count: int, seed: int, channels: int = 1) -> NDArray[np.uint8]:
    shape = (count, 12, 12, channels) if channels > 1 else (count, 12, 12)
    return np.random.RandomState(seed).randint(0, 256, shape, dtype=np.uint8)


def whole(**changes: Any) -> dict[str, Any]:
    arrays = {
        "x_train": pictures_of(COUNT, 1),
        "y_train": np.arange(COUNT, dtype=np.uint8) % 10,
        "x_test": pictures_of(TESTED, 2),
        "y_test": np.arange(TESTED, dtype=np.uint8) % 10,
    }
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "storage")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(**changes: Any) -> Path:
        path = tmp_path / "some.npz"
        np.savez(path, **whole(**changes))
        return path

    return written


SETTINGS = DataSettings(name="mnist", image_size=12)


def test_the_test_part_of_a_file_is_what_is_held_out(
    write: Callable[..., Path], workspace: Workspace
) -> None:
    data = load_data(SETTINGS, write(), workspace, torch.device("cpu"))
    assert [len(side) for side in (data.train_labels, data.validation_labels)] == [80, 20]
    arrays = whole()
    tested = torch.from_numpy(arrays["x_test"]).unsqueeze(1)
    assert data.test_images.equal(tested)
    assert data.test_labels.tolist() == arrays["y_test"].tolist()
    assert data.classes == tuple("0123456789")
    seen = torch.cat([data.train_images, data.validation_images]).squeeze(1)
    assert sorted(p.numpy().tobytes() for p in seen) == sorted(
        p.tobytes() for p in arrays["x_train"]
    )


def test_without_a_test_part_a_fifth_is_held_out(
    write: Callable[..., Path], workspace: Workspace
) -> None:
    path = write(x_test=None, y_test=None)
    pictures = open_pictures(SETTINGS, path, workspace)
    assert pictures.sides is not None
    assert (sum(pictures.sides), pictures.sides[2]) == (COUNT, 20)
    assert pictures.fingerprint != open_pictures(SETTINGS, write(), workspace).fingerprint


def test_training_pictures_of_the_test_part_are_left_out(
    write: Callable[..., Path], workspace: Workspace
) -> None:
    arrays = whole()
    arrays["x_train"][7] = arrays["x_test"][3]
    arrays["x_train"][20] = arrays["x_train"][30]
    pictures = open_pictures(SETTINGS, write(x_train=arrays["x_train"]), workspace)
    assert pictures.sides is not None
    assert sum(pictures.sides) == COUNT + TESTED - 1
    assert pictures.notes == (
        "training pictures that stand in the test part, too, were left out: 1",
    )
    twice = np.flatnonzero((pictures.images[..., 0] == arrays["x_train"][30]).all(axis=(1, 2)))
    sides = np.searchsorted(np.cumsum(pictures.sides), twice, side="right")
    assert len(twice) == 2
    assert len(set(sides.tolist())) == 1


def test_pictures_are_scaled_to_the_size_the_model_sees(
    write: Callable[..., Path], workspace: Workspace
) -> None:
    path = write(x_train=pictures_of(COUNT, 1, 3), x_test=pictures_of(TESTED, 2, 3))
    small = open_pictures(DataSettings(name="cifar10", image_size=8), path, workspace)
    assert small.images.shape == (COUNT + TESTED, 8, 8, 3)
    assert small.classes[:2] == ("airplane", "automobile")
    large = open_pictures(DataSettings(name="cifar10", image_size=12), path, workspace)
    assert large.fingerprint == small.fingerprint


@pytest.mark.parametrize(("labels", "first"), [([3, 7], "3"), ([0, 1], "0")])
def test_other_labels_have_numbers_for_names(
    write: Callable[..., Path], workspace: Workspace, labels: list[int], first: str
) -> None:
    answers = np.resize(np.array(labels, dtype=np.int64), (COUNT, 1))
    path = write(y_train=answers, x_test=None, y_test=None)
    pictures = open_pictures(SETTINGS, path, workspace)
    assert pictures.classes == tuple(str(label) for label in labels)
    assert pictures.classes[0] == first
    assert set(pictures.labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None}, "holds no array 'x_train'"),
        ({"y_train": None}, "holds no array 'y_train'"),
        ({"y_test": None}, "holds no array 'y_test'"),
        ({"x_train": np.zeros((COUNT, 12, 10), np.uint8)}, r"has the shape \(100, 12, 10\)"),
        ({"x_train": np.zeros((COUNT, 144), np.uint8)}, r"has the shape \(100, 144\)"),
        ({"x_train": np.zeros((COUNT, 12, 12, 2), np.uint8)}, "1 or 3 channels"),
        ({"x_train": np.zeros((COUNT, 12, 12))}, r"holds float64; it must hold bytes"),
        ({"x_test": np.zeros((TESTED, 9, 9), np.uint8)}, "differ in size or channels"),
        ({"y_train": np.arange(COUNT - 1)}, r"y_train has the shape \(99,\) for 100 pictures"),
        ({"y_train": np.linspace(0, 1, COUNT)}, "labels must be whole numbers"),
        ({"y_train": np.full(COUNT, -1)}, "labels from -1 to -1"),
        ({"y_train": np.full(COUNT, 2**63, np.uint64)}, "must lie within 0 to 9999"),
        ({"y_train": np.zeros(COUNT, np.int64), "y_test": None, "x_test": None}, "one class"),
        ({"x_train": np.array([None] * COUNT)}, r"no readable \.npz file"),
        (
            {"x_train": np.zeros((0, 12, 12), np.uint8), "y_train": np.zeros(0, np.uint8)},
            "at least one picture",
        ),
    ],
)
def test_bad_arrays_have_their_sentence(
    write: Callable[..., Path], workspace: Workspace, changes: dict[str, Any], message: str
) -> None:
    path = write(**changes)
    with pytest.raises(DataError, match=message) as caught:
        open_pictures(SETTINGS, path, workspace)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def _archive(member: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x_train.npy", member)
        archive.writestr("y_train.npy", member)
    return buffer.getvalue()


def _saved() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **whole())
    return buffer.getvalue()


def _single() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def _huge_header() -> bytes:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000,), }"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive at all",
        _saved()[:5000],
        _saved()[:-40],
        _saved()[:400] + bytes(200) + _saved()[600:],
        _single(),
        _archive(b""),
        _archive(b"\x93NUMPY\x01\x00garbage"),
        _archive(_huge_header()),
    ],
    ids=["empty", "text", "half", "cut", "overwritten", "npy", "hollow", "garbage", "huge"],
)
def test_files_that_are_no_archives_have_their_sentence(
    tmp_path: Path, workspace: Workspace, content: bytes
) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.npz: ") as caught:
        open_pictures(SETTINGS, path, workspace)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(DataError, match=r"none\.npz: cannot be read \(No such file"):
        open_pictures(SETTINGS, tmp_path / "none.npz", workspace)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_file_in_the_workspace_is_found_by_the_name_of_its_data_set(
    write: Callable[..., Path], workspace: Workspace, name: str
) -> None:
    settings = DataSettings(name=name, image_size=12)
    with pytest.raises(DataError, match=rf"data set '{name}': no .*{name}\.npz; .*fetch {name}"):
        open_pictures(settings, None, workspace)
    assert not is_here(name, workspace)
    states = {row["name"]: row["state"] for row in data_sets(workspace)}
    assert states[name] == f"not here: optuna-study data fetch {name}"
    path = write()
    workspace.arrays(name).parent.mkdir(parents=True)
    path.rename(workspace.arrays(name))
    assert open_pictures(settings, None, workspace).sides == (80, 20, 30)
    assert is_here(name, workspace)
    assert {row["name"]: row["state"] for row in data_sets(workspace)}[name] == "here"


def test_a_file_can_be_looked_at(write: Callable[..., Path], workspace: Workspace) -> None:
    found = overview(str(write()), 12, workspace)
    assert found.pictures == COUNT + TESTED
    assert found.classes["3"] == {"train": 8, "validation": 2, "test": 3}


def test_what_brings_pictures_here(workspace: Workspace) -> None:
    assert way_to_get("pokemon", workspace) == "`optuna-study data fetch pokemon`"
    assert way_to_get("mnist", workspace) == (
        f"`optuna-study data fetch mnist`, or mnist.npz in {workspace.root / 'data'}"
    )
    assert way_to_get("folder", workspace) is None
    assert is_here("digits", workspace)
    assert not is_here("folder", workspace)
    assert not is_here("flower", workspace)
