"""Data sets of torchvision, small ones in its layout: downloaded, read and taken as they lie."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from torchvision import datasets

from optuna_study.config.settings import DataSettings
from optuna_study.data.availability import is_here
from optuna_study.data.load import open_pictures
from optuna_study.errors import DataError
from optuna_study.paths import Workspace
from optuna_study.training.public_sets import fetch_raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SIDES = (("train", 60), ("t10k", 30))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "storage")


def idx(values: NDArray[np.uint8]) -> bytes:
    """Bytes as the format of MNIST has them."""
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return head + values.tobytes()


def write_mnist(raw: Path) -> None:
    raw.mkdir(parents=True)
    for seed, (side, count) in enumerate(SIDES):
        images = np.random.RandomState(seed).randint(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{side}-images-idx3-ubyte").write_bytes(idx(images))
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{side}-labels-idx1-ubyte").write_bytes(idx(labels))


def write_cifar(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-100's two files, smaller, and what torchvision takes for their checksums."""
    folder.mkdir(parents=True)
    for seed, (name, count) in enumerate((("train", 500), ("test", 100))):
        pixels = np.random.RandomState(seed).randint(0, 256, (count, 3072), dtype=np.uint8)
        batch = {"data": pixels, "fine_labels": [number % 100 for number in range(count)]}
        (folder / name).write_bytes(pickle.dumps(batch))
        digest = hashlib.md5((folder / name).read_bytes()).hexdigest()
        monkeypatch.setattr(datasets.CIFAR100, f"{name}_list", [[name, digest]])
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": []}))
    meta = {**datasets.CIFAR100.meta}
    meta["md5"] = hashlib.md5((folder / "meta").read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server on this machine that torchvision takes for MNIST's."""
    served = tmp_path / "served"
    write_mnist(tmp_path / "made")
    served.mkdir()
    resources = []
    for path in sorted((tmp_path / "made").iterdir()):
        packed = served / f"{path.name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        resources.append((packed.name, hashlib.md5(packed.read_bytes()).hexdigest()))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(datasets.MNIST, "mirrors", [url])
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("mirror")
def test_a_set_is_downloaded_once_and_read(workspace: Workspace) -> None:
    assert not is_here("mnist", workspace)
    folder = fetch_raw("mnist", workspace)
    assert folder == workspace.root / "data" / "MNIST" / "raw"
    assert is_here("mnist", workspace)
    assert [path.name for path in (workspace.root / "data").iterdir()] == ["MNIST"]
    pictures = open_pictures(DataSettings(name="mnist", image_size=28), None, workspace)
    assert pictures.images.shape == (90, 28, 28, 1)
    assert pictures.sides == (48, 12, 30)
    assert pictures.classes == tuple("0123456789")


def test_a_damaged_download_leaves_nothing(mirror: str, workspace: Workspace) -> None:
    datasets.MNIST.resources[0] = (datasets.MNIST.resources[0][0], "0" * 32)
    with pytest.raises(DataError, match="'mnist': cannot be downloaded"):
        fetch_raw("mnist", workspace)
    assert not (workspace.root / "data" / "MNIST").exists()
    assert not list((workspace.root / "data").iterdir())


@pytest.mark.parametrize("below", [".", "MNIST", "MNIST/raw"])
def test_pictures_in_the_raw_layout_are_taken_as_data(
    tmp_path: Path, workspace: Workspace, below: str
) -> None:
    write_mnist(tmp_path / "given" / "MNIST" / "raw")
    settings = DataSettings(name="mnist", image_size=28)
    raw = open_pictures(settings, tmp_path / "given" / below, workspace)
    assert raw.sides == (48, 12, 30)
    images = [
        np.random.RandomState(n).randint(0, 256, (c, 28, 28), dtype=np.uint8)
        for n, c in ((0, 60), (1, 30))
    ]
    path = tmp_path / "mnist.npz"
    labels = [(np.arange(count) % 10).astype(np.uint8) for _, count in SIDES]
    np.savez(path, x_train=images[0], y_train=labels[0], x_test=images[1], y_test=labels[1])
    packed = open_pictures(settings, path, Workspace(tmp_path / "other"))
    assert packed.fingerprint == raw.fingerprint
    assert np.array_equal(packed.images, raw.images)


def test_colours_in_the_raw_layout_have_their_classes(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path / "given" / "cifar-100-python", monkeypatch)
    settings = DataSettings(name="cifar100", image_size=32)
    pictures = open_pictures(settings, tmp_path / "given", workspace)
    assert pictures.images.shape == (600, 32, 32, 3)
    assert (pictures.classes[0], pictures.classes[99]) == ("apple", "worm")
    assert pictures.sides is not None
    assert pictures.sides[2] == 100


def test_a_raw_layout_that_is_not_whole_is_one_line(tmp_path: Path, workspace: Workspace) -> None:
    raw = tmp_path / "given" / "MNIST" / "raw"
    write_mnist(raw)
    settings = DataSettings(name="mnist", image_size=28)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"cut")
    for _ in range(2):
        with pytest.raises(DataError, match=r"no whole data set 'mnist' \(") as caught:
            open_pictures(settings, tmp_path / "given", workspace)
        assert "\n" not in str(caught.value)
        (raw / "t10k-labels-idx1-ubyte").unlink(missing_ok=True)
