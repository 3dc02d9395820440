"""Finds pictures by the name of their data set or by their folder; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optuna_study.config.catalogue import (
    dataset_names,
    explain_failure,
    import_reference,
    is_reference,
)
from optuna_study.data.arrays import class_names, read_arrays, read_raw_arrays
from optuna_study.data.availability import ARRAY_SUFFIX, RAW_SETS, find_raw_set
from optuna_study.data.fetch import SOURCES
from optuna_study.data.folder.read import read_folder
from optuna_study.data.pictures import Pictures, Request, require_learnable
from optuna_study.errors import DataError
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.config.settings import DataSettings
    from optuna_study.paths import Workspace

OWN_CHANNELS = (1, 2, 3, 4)
"""What pictures of somebody's own function are taken to have at most, until they are read."""


def cache_size(image_size: int) -> int:
    """The side at which pictures are kept for a model's `image_size`, as 256 is for 227.

    >>> cache_size(227), cache_size(64)
    (256, 72)
    """
    return round(image_size * 256 / 227)


def open_pictures(settings: DataSettings, folder: Path | None, workspace: Workspace) -> Pictures:
    """The pictures of a folder or an .npz file when one is given, else of the named data set.

    A folder may also hold a data set in torchvision's raw layout.

    Raises:
        DataError: no such data set or folder, not fetched yet, or unusable.
    """
    request = Request(
        settings.image_size,
        cache_size(settings.image_size),
        workspace,
        settings.fit,
        settings.group,
    )
    raw = find_raw_set(folder, settings.name) if folder is not None else None
    of_files = (folder is not None and raw is None) or settings.name in SOURCES
    if settings.group != "none" and not of_files:
        raise DataError(f"data.group = '{settings.group}': only a folder's pictures have groups")
    if raw is not None:
        return read_raw_arrays(*raw, request)
    if folder is not None and folder.suffix == ARRAY_SUFFIX and not folder.is_dir():
        names = class_names(settings.name) if settings.name in RAW_SETS else ()
        return read_arrays(folder, request, names)
    if folder is not None:
        return read_folder(folder, request)
    if is_reference(settings.name):
        return _own(settings.name, request)
    pictures: Pictures = import_reference(_reference(settings.name))(request)
    return pictures


def _own(name: str, request: Request) -> Pictures:
    """The pictures of somebody's own function, looked at before anything relies on them."""
    asked = "it is called as function(request) and gives Pictures"
    with explain_failure("data set", name, asked, DataError):
        pictures = import_reference(name)(request)
    if not isinstance(pictures, Pictures):
        raise DataError(
            f"data set '{name}': gave {type(pictures).__name__}, not Pictures",
            "see training/datasets for examples",
        )
    problem = _problem(pictures, request.image_size)
    if problem is not None:
        what, step = problem
        raise DataError(f"data set '{name}': {what}", step)
    require_learnable(pictures.labels, pictures.groups, pictures.classes, f"data set '{name}'")
    return pictures


def _problem(pictures: Pictures, image_size: int) -> tuple[str, str] | None:
    """What is wrong with the arrays of pictures, and what they must be."""
    images, labels = pictures.images, pictures.labels
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2]:
        return (
            f"its images are {images.dtype} {images.shape}",
            "they must be uint8 (N, side, side, channels)",
        )
    if images.shape[1] < image_size:
        return (
            f"its pictures have {images.shape[1]} pixels, a model wants {image_size}",
            "give them at request.cache_size, or request.image_size where they fill their frame",
        )
    if len({len(images), len(labels), len(pictures.groups)}) > 1:
        return (
            f"it has {len(images)} images, {len(labels)} labels and {len(pictures.groups)} groups",
            "each picture needs one of each",
        )
    known = np.arange(len(pictures.classes))
    if labels.dtype != np.int64 or not np.isin(labels, known).all():
        what = f"its labels must be int64 from 0 to {len(known) - 1}, places of its classes"
        return what, ""
    return None


def title(name: str) -> str:
    """What a data set is, in a few words.

    Raises:
        DataError: no such data set.
    """
    return str(import_reference(_reference(name, "TITLE")))


def possible_channels(name: str) -> tuple[int, ...]:
    """The numbers of channels that pictures of a data set may have, told without reading them.

    Raises:
        DataError: no such data set.
    """
    if is_reference(name):
        return OWN_CHANNELS
    channels: tuple[int, ...] = import_reference(_reference(name, "CHANNELS"))
    return channels


def _reference(name: str, attribute: str = "load") -> str:
    if is_reference(name):
        return name
    if name not in dataset_names():
        raise DataError(f"data set '{name}': not known, {did_you_mean(name, dataset_names())}")
    return f"optuna_study.data.datasets.{name}:{attribute}"
