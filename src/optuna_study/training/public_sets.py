"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 as torchvision downloads and reads them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from optuna_study.data.availability import RAW_SETS
from optuna_study.errors import DataError
from optuna_study.paths import Workspace, writing
from optuna_study.training.backbone.without_compiler import without_compiler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


TIMEOUT = 60.0
"""Seconds to wait for a connection, and for the next bytes."""


def read_raw(name: str, root: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a data set whose files lie below `root` as torchvision lays them out.

    `x_train` and `x_test` are of shape (N, side, side) or (N, side, side, 3), uint8.

    Raises:
        DataError: files are missing or damaged.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    try:
        for side in ("train", "test"):
            part = _open(name, root, train=side == "train")
            arrays[f"x_{side}"] = np.asarray(part.data)
            arrays[f"y_{side}"] = np.asarray(part.targets, dtype=np.int64)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, AssertionError) as error:
        raise DataError(
            f"{root / RAW_SETS[name].folder}: no whole data set '{name}' ({_reason(error)})",
            f"`optuna-study data fetch {name}` downloads it",
        ) from error
    return arrays


def fetch_raw(name: str, workspace: Workspace) -> Path:
    """Download a data set into the workspace, checksums included; the folder it lies in.

    Raises:
        DataError: it cannot be downloaded.
        FolderError: the workspace cannot be written.
        DiskFullError: no space left in it.
    """
    root = workspace.pictures(name).parent
    target = root / RAW_SETS[name].folder
    partial = root / f".{name}-partial"
    lock = workspace.lock(f"fetch-{name}")
    with writing(workspace.root):
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not target.is_dir():
                shutil.rmtree(partial, ignore_errors=True)  # an archive that is half there
                partial.mkdir(parents=True)
                _download(name, partial)
                target.parent.mkdir(parents=True, exist_ok=True)
                (partial / RAW_SETS[name].folder).replace(target)
                shutil.rmtree(partial)
    return target


def _download(name: str, root: Path) -> None:
    try:
        with _waiting_for_so_long():
            _open(name, root, download=True)
    except (OSError, RuntimeError) as error:  # torchvision's own, urllib's are OSErrors
        shutil.rmtree(root, ignore_errors=True)
        if getattr(error, "errno", None) is not None:
            raise  # the disk's
        raise DataError(
            f"data set '{name}': cannot be downloaded ({_reason(error)})",
            "check the network, or give files that are here with --data DIR",
        ) from error


def _open(name: str, root: Path, *, train: bool = True, download: bool = False) -> Any:
    with without_compiler():
        from torchvision import datasets

    kind = getattr(datasets, RAW_SETS[name].torchvision)
    with contextlib.redirect_stdout(sys.stderr):  # it tells what it does
        return kind(root, train=train, download=download)


@contextlib.contextmanager
def _waiting_for_so_long() -> Iterator[None]:
    """Connections that torchvision opens would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return (lines[-1] if lines else type(error).__name__).strip()
