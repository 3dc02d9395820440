"""Decoded pictures kept on disk, memory-mapped and shared by all processes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from optuna_study.data.pictures import Pictures
from optuna_study.data.split import split
from optuna_study.paths import Workspace, untouched_by_bad_data, writing

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE_VERSION = 1
"""Part of every key; a change to decoding, grouping or splitting raises it."""


def load_or_build(key: str, workspace: Workspace, build: Callable[[Path], Pictures]) -> Pictures:
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
                    _build_entry(folder, build)
    return _read_entry(folder)


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


def _build_entry(folder: Path, build: Callable[[Path], Pictures]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".building-{folder.name}-"
    # The lock is ours, so whatever stands here was left by a process that was killed.
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as scratch:
        pictures = build(Path(scratch))
        beside = Path(scratch) / "finished"
        beside.mkdir()
        _write_entry(beside, pictures)
        shutil.move(beside, folder)


def _write_entry(folder: Path, pictures: Pictures) -> None:
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


def _read_entry(folder: Path) -> Pictures:
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
