"""States on disk: plain values and tensors, written beside and renamed, loaded without code.

The folder that hands a trained model out is read back here, too, as what a model's file holds.
"""

from __future__ import annotations

import json
import struct
import tomllib
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from optuna_study.config.settings import SECTIONS
from optuna_study.errors import DataError, NotFoundError
from optuna_study.paths import (
    CLASSES,
    CONFIG,
    MODEL,
    PREPROCESSING,
    WEIGHTS,
    writing,
    written_beside,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_DAMAGE = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error)
"""What Python's reader of archives raises of damaged ones."""

_DAMAGED_PARTS = ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError
"""What readers of JSON, TOML and tensors raise of damaged ones."""


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


def read_folder(folder: Path) -> dict[str, Any]:
    """What the folder of `train -o` or of `export --model` holds, unchecked, as a model's file.

    Raises:
        NotFoundError: neither of them wrote it.
        DataError: one of its files is damaged.
    """
    if (folder / MODEL).is_file():
        return load(folder / MODEL)
    for name in (WEIGHTS, CONFIG, CLASSES, PREPROCESSING):
        if not (folder / name).is_file():
            raise NotFoundError(
                f"{folder}: no model, since it lacks {name}; give a folder that `optuna-study "
                "export --model` or `train -o` wrote, or its model.pt"
            )
    from safetensors import SafetensorError
    from safetensors.torch import load as load_weights

    try:
        known = json.loads((folder / PREPROCESSING).read_bytes())
        config = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
        order = known.get("permutation")
        return {
            "kind": "model",
            "version": 1,
            "config": {section: config.get(section) for section in SECTIONS},
            "classes": json.loads((folder / CLASSES).read_bytes()),
            "channels": known["channels"],
            "cache_size": known["decoded_side"],
            "mean": torch.tensor(known["mean"], dtype=torch.float32),
            "std": torch.tensor(known["std"], dtype=torch.float32),
            "permutation": None if order is None else torch.tensor(order, dtype=torch.int64),
            "grey_ranges": known["grey_ranges"],
            "weights": load_weights((folder / WEIGHTS).read_bytes()),
        }
    except (SafetensorError, *_DAMAGED_PARTS) as error:
        raise DataError(f"{folder}: its model is damaged ({type(error).__name__})") from error
