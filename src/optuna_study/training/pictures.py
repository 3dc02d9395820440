"""Labelled pictures in one array, made once and shared by all processes as a mapped file.

Whatever a data set comes from, it reaches training as `Pictures`. `stored` keeps them in the
workspace with the training pictures first, then validation, then test, so that each side is a
slice of the file and no worker copies any of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from PIL import Image

from optuna_study.errors import DataError
from optuna_study.paths import Workspace, untouched_by_bad_data, writing
from optuna_study.training.split import split

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CACHE_VERSION = 1
"""Part of every cache key; a change to decoding, grouping or splitting raises it."""

FEWEST_PER_CLASS = 3
"""Different pictures that a class needs: one each for training, validation and test."""


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures.

    `images` is uint8 of shape (N, height, width, channels), `labels` and `groups` int64 of shape
    (N,); pictures of one group are the same or nearly so and stay on one side of the split.
    `fingerprint` follows from content and labels alone. `notes` holds a sentence for each file
    skipped or repaired. `sides` tells how many pictures are training, validation and test where
    they lie in that order. `held_out` is the number of pictures at the end that are the data set's
    own test part.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    classes: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    sides: tuple[int, int, int] | None = None
    held_out: int = 0


@dataclass(frozen=True)
class Request:
    """What a data set is asked for.

    `cache_size` leaves a margin around `image_size` for random crops; a data set whose pictures
    fill their frame answers with `image_size` instead. Sizes are sides of squares in pixels.
    """

    image_size: int
    cache_size: int
    workspace: Workspace


def content_fingerprint(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> str:
    """The fingerprint of pictures that are computed, not read from files."""
    digest = hashlib.sha256(json.dumps([list(images.shape), list(classes)]).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()


def resized(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Square pictures (N, side, side, channels) at another side."""
    if images.shape[1] == size:
        return images
    result = np.empty((len(images), size, size, images.shape[3]), dtype=np.uint8)
    for picture, target in zip(images, result, strict=True):
        source = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
        scaled = source.resize((size, size), Image.Resampling.BILINEAR)
        target[...] = np.asarray(scaled, dtype=np.uint8).reshape(target.shape)
    return result


def require_learnable(
    labels: NDArray[np.int64], groups: NDArray[np.int64], classes: tuple[str, ...], where: object
) -> None:
    """Refuse pictures from which no classifier can be trained and judged.

    Raises:
        DataError: fewer than two classes, or a class with too few different pictures.
    """
    if len(classes) < 2:
        only = f"only one class, '{classes[0]}'" if classes else "no class"
        raise DataError(f"{where}: {only}; a classifier needs at least two folders of pictures")
    for label, name in enumerate(classes):
        different = len(np.unique(groups[labels == label]))
        if different < FEWEST_PER_CLASS:
            count = "1 picture" if different == 1 else f"{different} different pictures"
            raise DataError(
                f"{where}: class '{name}' has {count}; each class needs at least "
                f"{FEWEST_PER_CLASS}, for training, validation and test"
            )


def stored(key: str, workspace: Workspace, build: Callable[[Path], Pictures]) -> Pictures:
    """The pictures kept in the workspace under `key`, built first where they are not there yet.

    One process builds, others wait for it. `build` gets a scratch folder on the same disk, where
    it may keep arrays too large for memory.

    Raises:
        DataError: what is built cannot be split.
        FolderError: the workspace cannot be written.
        DiskFullError: no space left in it.
    """
    folder = workspace.cache(f"{key}-v{CACHE_VERSION}")
    if not folder.is_dir():
        lock = workspace.lock(f"cache-{folder.name}")
        with untouched_by_bad_data(lock, folder), writing(workspace.root):
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                if not folder.is_dir():
                    _keep(folder, build)
    return _kept(folder)


def array_file(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """A new .npy file to write through memory, its room on the disk taken at once.

    A disk that fills up later, under mapped memory, would end the process by a signal.

    Raises:
        OSError: no space left.
    """
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images


def _keep(folder: Path, build: Callable[[Path], Pictures]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".building-{folder.name}-"
    # The lock is ours, so whatever stands here was left by a process that was killed.
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as scratch:
        pictures = build(Path(scratch))
        beside = Path(scratch) / "finished"
        beside.mkdir()
        _write(beside, pictures)
        shutil.move(beside, folder)


def _write(folder: Path, pictures: Pictures) -> None:
    parts = split(pictures, 1.0)
    order = np.concatenate([parts.train, parts.validation, parts.test])
    images = array_file(folder / "images.npy", pictures.images.shape)
    for start in range(0, len(order), 256):
        images[start : start + 256] = pictures.images[order[start : start + 256]]
    images.flush()
    np.save(folder / "labels.npy", pictures.labels[order])
    np.save(folder / "groups.npy", pictures.groups[order])
    about = {
        "classes": pictures.classes,
        "fingerprint": pictures.fingerprint,
        "notes": pictures.notes,
        "sides": [len(parts.train), len(parts.validation), len(parts.test)],
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _kept(folder: Path) -> Pictures:
    about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    training, validation, test = about["sides"]
    return Pictures(
        # Copy on write: torch wants writable memory, and yet nobody can change the file.
        images=np.load(folder / "images.npy", mmap_mode="c"),
        labels=np.load(folder / "labels.npy"),
        groups=np.load(folder / "groups.npy"),
        classes=tuple(about["classes"]),
        fingerprint=about["fingerprint"],
        notes=tuple(about["notes"]),
        sides=(training, validation, test),
    )


def computed(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...], size: int
) -> Pictures:
    """Pictures made by a program, all different, at the size asked for."""
    return Pictures(
        images=resized(images, size),
        labels=labels,
        groups=np.arange(len(labels), dtype=np.int64),
        classes=classes,
        fingerprint=content_fingerprint(images, labels, classes),
    )
