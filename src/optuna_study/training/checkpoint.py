"""States on disk: plain values and tensors, written beside and renamed, loaded without code."""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from optuna_study.errors import DataError, NotFoundError
from optuna_study.paths import writing, written_beside

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DAMAGE = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error)
"""What Python's reader of archives raises of damaged ones."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state; readers see the old file or the new one, never half of either.

    Raises:
        DiskFullError: no space left.
        FolderError: the folder cannot be written.
    """
    with writing(path), written_beside(path) as beside, beside.open("wb") as file:
        # A Python file's OSError tells a full disk; torch's own writer only says that it failed.
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:
            # The writer fails once more while it closes what the full disk left unfinished.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(path: Path) -> dict[str, Any]:
    """Read a state onto the CPU.

    Raises:
        NotFoundError: no such file.
        DataError: the file is damaged or holds something else.
    """
    if not path.is_file():  # no pipe either, which would be waited for
        raise NotFoundError(f"{path}: no such checkpoint")
    _require_plain_archive(path)
    try:
        state = read_without_code(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(f"{path}: no such checkpoint") from error
    if not isinstance(state, dict):
        raise DataError(f"{path}: not a checkpoint of this program")
    return state


def _require_plain_archive(path: Path) -> None:
    """Refuse what torch.save does not write: other files, and packed parts."""
    try:
        with zipfile.ZipFile(path) as archive:
            if all(part.compress_type == zipfile.ZIP_STORED for part in archive.infolist()):
                return
    except _DAMAGE:
        pass
    raise DataError(f"{path}: not a checkpoint of this program, or damaged")


def _is_whole(path: Path) -> bool:
    """Whether an archive's parts have their checksums, which torch itself does not compare."""
    try:
        if not zipfile.is_zipfile(path):
            return True  # as torch wrote before it wrote archives; these hold no checksums
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except _DAMAGE:
        return False


def read_without_code(path: Path) -> Any:
    """What torch finds in a file, onto the CPU; code that the file names is never run.

    Raises:
        OSError: the file cannot be read.
        DataError: it is damaged, or names code.
    """
    if not _is_whole(path):
        raise DataError(f"{path}: not a checkpoint of this program, or damaged")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # the unpickler fails in any way that the bytes lead it to
        raise DataError(f"{path}: not a checkpoint of this program, or damaged") from error
