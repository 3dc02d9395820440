from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from optuna_study.config.catalogue import dataset_names
from optuna_study.config.settings import DataSettings
from optuna_study.data.datasets import rendered
from optuna_study.data.load import open_pictures, possible_channels, title
from optuna_study.data.overview import data_sets, overview
from optuna_study.data.pictures import resize
from optuna_study.errors import DataError
from optuna_study.paths import Workspace
from optuna_study.report.data_pages import data_sets_text, overview_text

PICTURES = Path(
    os.environ.get("OPTUNA_STUDY_TEST_PICTURES")
    or Path(__file__).parents[2].parent / "shared" / "datasets"
)

RENDERED = "92680d2118dbaa41"


@pytest.fixture(scope="module")
def workspace(shared_workspace: Workspace) -> Workspace:
    return shared_workspace


def linear_accuracy(images: np.ndarray, labels: np.ndarray, train: int) -> float:
    """Test accuracy of ridge regression on pixels of 24 x 24 pictures, at its best penalty."""
    pixels = resize(images, 24).reshape(len(images), -1) / 255.0
    pixels -= pixels[:train].mean(axis=0)
    targets = np.eye(labels.max() + 1)[labels[:train]]
    targets -= targets.mean(axis=0)
    similar = pixels[:train] @ pixels[:train].T
    accuracies = []
    for penalty in (1.0, 10.0, 100.0, 1000.0):
        weights = np.linalg.solve(
            similar + penalty * np.eye(train), targets - targets.mean(axis=0)
        )
        guesses = (pixels[train:] @ pixels[:train].T @ weights).argmax(axis=1)
        accuracies.append(float((guesses == labels[train:]).mean()))
    return max(accuracies)


@pytest.mark.slow
def test_looking_at_data_needs_no_torch() -> None:
    """Torch takes seconds to load; only training is worth them."""
    code = (
        "import sys, optuna_study.data.overview, optuna_study.data.folder.check; "
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_data_sets_are_those_with_a_file() -> None:
    assert set(dataset_names()) >= {"digits", "flower", "folder", "pokemon", "rendered"}
    for name in dataset_names():
        assert title(name)
        assert possible_channels(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "rendered", "spiral"])
def test_channels_are_known_before_pictures_are_read(workspace: Workspace, name: str) -> None:
    pictures = open_pictures(DataSettings(name=name, image_size=16), None, workspace)
    assert possible_channels(name) == (pictures.images.shape[-1],)


def test_rendered_pictures_are_the_same_on_every_machine() -> None:
    """Drawn with exact arithmetic and a frozen generator: these sums must never change."""
    images, labels = rendered.render(per_class=4)
    assert images.shape == (20, 96, 96, 3)
    assert labels.tolist() == [0, 1, 2, 3, 4] * 4
    again, _ = rendered.render(per_class=4)
    assert np.array_equal(images, again)
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == RENDERED


@pytest.mark.slow
def test_rendered_pictures_need_more_than_a_linear_model(workspace: Workspace) -> None:
    pictures = open_pictures(DataSettings(name="rendered", image_size=32), None, workspace)
    assert pictures.sides is not None
    train = sum(pictures.sides[:2])
    accuracy = linear_accuracy(pictures.images, pictures.labels, train)
    # Chance is 0.2: usual colours tell something, the rest is shape.
    assert 0.3 < accuracy < 0.65


def test_rendered_pictures_differ_from_each_other(workspace: Workspace) -> None:
    images, _ = rendered.render(per_class=6)
    assert len({image.tobytes() for image in images}) == 30
    spread = images.astype(float).std(axis=0)
    assert spread.mean() > 30


@pytest.mark.slow
def test_digits_are_scikit_learn_s(workspace: Workspace) -> None:
    pictures = open_pictures(DataSettings(name="digits", image_size=16), None, workspace)
    assert pictures.images.shape == (1797, 16, 16, 1)
    assert pictures.classes == tuple("0123456789")
    assert np.bincount(pictures.labels).tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip
    assert pictures.images.max() == 255
    train = sum(pictures.sides or ()) - 359
    assert linear_accuracy(pictures.images, pictures.labels, train) > 0.9


@pytest.mark.parametrize("name", ["pokemon", "flower"])
def test_fetched_pictures_are_read_from_the_workspace(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path)
    settings = DataSettings(name=name, image_size=16)
    with pytest.raises(DataError, match=f"data fetch {name}"):
        open_pictures(settings, None, workspace)
    images, labels = rendered.render(per_class=3)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = workspace.pictures(name) / f"kind{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    assert len(open_pictures(settings, None, workspace).labels) == 15


def test_the_list_tells_what_is_here(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.pictures("flower").mkdir(parents=True)
    states = {row["name"]: row["state"] for row in data_sets(workspace)}
    assert states["rendered"] == states["digits"] == "built in"
    assert states["flower"] == "fetched"
    assert states["pokemon"] == "not here: optuna-study data fetch pokemon"
    assert "1,797 handwritten digits" in data_sets_text(data_sets(workspace))


@pytest.mark.slow
def test_the_overview_counts_each_side(workspace: Workspace) -> None:
    found = overview("rendered", 32, workspace)
    assert found.classes["ram"] == {"train": 128, "validation": 32, "test": 40}
    assert (found.pictures, found.different, found.size, found.channels) == (1000, 1000, 36, 3)
    assert "ram       128          32    40" in overview_text(found)


@pytest.mark.slow
def test_a_folder_has_an_overview_too(tmp_path: Path) -> None:
    images, labels = rendered.render(per_class=5)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "own" / f"kind{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    shutil.copy(tmp_path / "own/kind0/0.png", tmp_path / "own/kind0/copy.png")
    (tmp_path / "own/kind0/broken.png").write_bytes(b"")
    found = overview(str(tmp_path / "own"), 32, Workspace(tmp_path / "storage"))
    assert (found.pictures, found.different) == (26, 25)
    assert overview_text(found).endswith("kind0/broken.png: skipped, not a picture (0 bytes)")


def test_an_unknown_data_set_has_a_hint(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="did you mean 'digits'"):
        overview("digit", 32, workspace)


def test_pictures_without_files_have_no_groups(workspace: Workspace) -> None:
    settings = DataSettings(name="digits", image_size=16, group="folder")
    with pytest.raises(DataError, match=r"data.group = 'folder': only a folder's pictures have"):
        open_pictures(settings, None, workspace)
