"""Decoded pictures kept on disk, memory-mapped and shared by all processes.

An entry is a folder of arrays and of what is said about them, the arrays' sizes and checksums
among it. Whoever opens an entry holds it against these once; one that differs, or lacks a part, is
built anew.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from optuna_study.data.folder.walk import LeftOut
from optuna_study.data.pictures import Pictures
from optuna_study.data.split import split
from optuna_study.data.statistics import picture_moments
from optuna_study.paths import Workspace, untouched_by_bad_data, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CACHE_VERSION = 2
"""Part of every key; a change to decoding, grouping or splitting raises it."""

ARRAYS = ("images.npy", "labels.npy", "groups.npy", "moments.npy")
ABOUT, FEATURES = "about.json", "features.npy"
BUILDING = ".building-"
CHUNK = 1 << 22

T = TypeVar("T")

log = logging.getLogger(__name__)


class DamagedEntryError(Exception):
    """An entry of the cache that is not as it was written; no user sees it as an error."""


def load_or_build(key: str, workspace: Workspace, build: Callable[[Path], Pictures]) -> Pictures:
    """The pictures kept in the workspace under `key`, built first where they are not there yet.

    One process builds, others wait for it; a damaged entry is built again. `build` gets a scratch
    folder on the same disk, where it may keep arrays too large for memory.

    Raises:
        DataError: what is built cannot be split.
        FolderError: the workspace cannot be written.
        DiskFullError: no space left in it.
    """
    folder = workspace.cache(f"{key}-v{CACHE_VERSION}")
    return read_or_write(folder, workspace, _read_entry, lambda new: _build_entry(new, build))


def read_or_write(
    folder: Path, workspace: Workspace, read: Callable[[Path], T], write: Callable[[Path], None]
) -> T:
    """What `read` makes of an entry, written first where it is not there yet or is damaged.

    One process writes, others wait for it. `read` raises DamagedEntryError.

    Raises:
        FolderError: the workspace cannot be written.
        DiskFullError: no space left in it.
    """
    try:
        return read(folder)
    except DamagedEntryError:
        pass  # to be told by whoever holds the lock, after another may have mended it
    lock = workspace.lock(f"cache-{folder.name}")
    with untouched_by_bad_data(lock, folder), writing(workspace.root):
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            try:
                return read(folder)
            except DamagedEntryError as damage:
                if folder.exists():
                    log.warning("%s: %s, built anew", folder, damage)
                write(folder)
    return read(folder)


def damaged_entries(workspace: Workspace, *, remove: bool = False) -> Iterator[tuple[Path, str]]:
    """The entries of the cache that are not as they were written, each with what is wrong."""
    cache = workspace.cache("x").parent
    for pattern, check in ((f"*-v{CACHE_VERSION}", _read_entry), ("features-*", check_features)):
        for folder in sorted(cache.glob(pattern)):
            try:
                check(folder)
            except DamagedEntryError as damage:
                if remove:
                    with FileLock(workspace.lock(f"cache-{folder.name}")):
                        shutil.rmtree(folder)
                yield folder, str(damage)
    for folder in sorted(cache.glob(f"{BUILDING}*")):
        name = folder.name.removeprefix(BUILDING).rpartition("-")[0]
        if not _is_held(workspace.lock(f"cache-{name}")):
            if remove:
                shutil.rmtree(folder)
            yield folder, "left half built by a process that was killed"


def _is_held(lock: Path) -> bool:
    """Whether a process holds a lock, which is not made for that."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):
        return True


@contextmanager
def written_entry(folder: Path) -> Iterator[Path]:
    """A folder to write an entry into, which takes its place; the caller holds the entry's lock.

    Beside it is room for what is needed meanwhile.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{BUILDING}{folder.name}-"
    # The lock is the caller's, so whatever stands here was left by a process that was killed.
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as scratch:
        beside = Path(scratch) / "finished"
        beside.mkdir()
        yield beside
        if folder.exists():  # damaged; whoever has mapped it keeps what it has
            shutil.move(folder, Path(scratch) / "damaged")
        shutil.move(beside, folder)


def check_features(folder: Path) -> None:
    """Hold an entry of features (`training.backbone.features` writes them) against its checksum.

    Raises:
        DamagedEntryError: it is not there, or not as it was written.
    """
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        if about["checksum"] != checksum(folder / FEATURES):
            raise DamagedEntryError(f"{FEATURES} differs from what was written")
    except OSError as error:
        raise DamagedEntryError(f"{Path(error.filename or folder).name} cannot be read") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedEntryError(f"{ABOUT} holds something else") from error


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
    with written_entry(folder) as beside:
        _write_entry(beside, build(beside.parent))
    earlier = folder.with_name(folder.name.rpartition("-v")[0] + f"-v{CACHE_VERSION - 1}")
    shutil.rmtree(earlier, ignore_errors=True)


def _write_entry(folder: Path, pictures: Pictures) -> None:
    parts = split(pictures, 1.0)
    order = np.concatenate([parts.train, parts.validation, parts.test])
    images = array_file(folder / "images.npy", pictures.images.shape)
    for start in range(0, len(order), 256):
        images[start : start + 256] = pictures.images[order[start : start + 256]]
    images.flush()
    np.save(folder / "labels.npy", pictures.labels[order])
    np.save(folder / "groups.npy", pictures.groups[order])
    np.save(folder / "moments.npy", picture_moments(images))
    about: dict[str, Any] = {
        "classes": pictures.classes,
        "fingerprint": pictures.fingerprint,
        "notes": pictures.notes,
        "sides": [len(parts.train), len(parts.validation), len(parts.test)],
        "grey_ranges": pictures.grey_ranges,
        "left_out": [[each.file, each.reason] for each in pictures.left_out],
    }
    about["checksums"] = {name: checksum(folder / name) for name in ARRAYS}
    about["checksum"] = _checksum_of(about)
    (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")


def _read_entry(folder: Path) -> Pictures:
    """The pictures of an entry.

    Raises:
        DamagedEntryError: it is not there, or not as it was written.
    """
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_bytes())
        if about.pop("checksum") != _checksum_of(about):
            raise DamagedEntryError(f"{ABOUT} differs from what was written")
        for name in ARRAYS:
            if checksum(folder / name) != about["checksums"][name]:
                raise DamagedEntryError(f"{name} differs from what was written")
    except OSError as error:
        raise DamagedEntryError(f"{Path(error.filename or folder).name} cannot be read") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedEntryError(f"{ABOUT} holds something else") from error
    training, validation, test = about["sides"]
    return Pictures(
        # Copy on write: torch wants writable memory, and yet nobody can change the file.
        images=np.load(folder / "images.npy", mmap_mode="c"),
        labels=np.load(folder / "labels.npy"),
        groups=np.load(folder / "groups.npy"),
        moments=np.load(folder / "moments.npy"),
        classes=tuple(about["classes"]),
        fingerprint=about["fingerprint"],
        notes=tuple(about["notes"]),
        sides=(training, validation, test),
        grey_ranges={kind: (low, high) for kind, (low, high) in about["grey_ranges"].items()},
        left_out=tuple(LeftOut(file, reason) for file, reason in about["left_out"]),
    )


def checksum(path: Path) -> list[int]:
    """A file's size and CRC-32, which is found faster than any digest.

    Raises:
        OSError: it cannot be read.
    """
    state = path.stat()
    mark = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    return [state.st_size, _crc32(path, mark)]


@functools.lru_cache(maxsize=64)
def _crc32(path: Path, mark: tuple[int, ...]) -> int:
    """The CRC-32 of a file, which a process that opens it again remembers by its `mark`."""
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value


def _checksum_of(about: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())
