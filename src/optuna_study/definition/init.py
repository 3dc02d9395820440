"""A study file for a folder of pictures of one's own: complete, commented, launched as it is."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.definition.names import require_name
from optuna_study.definition.read import parse_study_file
from optuna_study.errors import DataError, DiskFullError, FolderError, UsageError
from optuna_study.paths import writing

if TYPE_CHECKING:
    from collections.abc import Sequence

TEMPLATE = Path(__file__).with_name("init.template")
"""The study file with its gaps, as `str.format` fills them."""

TRAINING_SHARE = 0.8 * 0.8  # what the held-out test and the validation leave
FULL_PICTURES = 112_000  # seen in a trial: 150 epochs of 746 pictures, as in the articles
CPU_PICTURES = 9_000  # seen in a trial of the cpu profile: about ten seconds at 64 px
CPU_TRAINING = 2_000  # training pictures that the cpu profile uses at most
IMAGE_SIZES = (32, 48, 64, 96, 128, 160, 192, 227)
CPU_IMAGE_SIZE = 64


@dataclass(frozen=True)
class Survey:
    """What a folder of pictures holds: as many classes and pictures, and how large these are.

    `notes` are sentences on what is left out and how the folder is read.
    """

    classes: tuple[str, ...]
    pictures: int
    shorter_side: int  # the median, in pixels
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewStudyFile:
    """The new study file, and in words what it was made for."""

    path: Path
    found: str
    notes: tuple[str, ...]


def write_study_file(name: str, folder: Path, studies: Path = Path("studies")) -> NewStudyFile:
    """Write `studies/NAME.toml` for a folder of class folders.

    Raises:
        UsageError: a name that cannot be one or is taken, or a folder's that is not UTF-8.
        DataError: the folder cannot be learned from.
        FolderError: the studies folder cannot be written.
        DiskFullError: no space left.
    """
    path = studies / f"{require_name(name)}.toml"
    if path.exists():
        raise UsageError(f"{path}: exists already; choose another name, or remove it first")
    absolute = folder.expanduser().absolute()
    survey = survey_folder(absolute)
    text = study_file_text(name, absolute, survey)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{folder!r}: has a name that is not UTF-8; rename it") from error
    parse_study_file(text, name, path)
    _write_new(path, text)
    found = f"{len(survey.classes)} classes, {survey.pictures} pictures"
    return NewStudyFile(
        path, f"{found}, {survey.shorter_side} px on the shorter side", survey.notes
    )


def survey_folder(folder: Path) -> Survey:
    """Count the classes and pictures of a folder, reading no more of each than its size.

    Raises:
        DataError: the folder cannot be learned from.
    """
    import numpy as np

    from optuna_study.data.decode import without_warnings
    from optuna_study.data.folder.inspection import shorter_side
    from optuna_study.data.folder.layout import list_folder
    from optuna_study.data.folder.listing import count_line, require_classes
    from optuna_study.data.folder.remarks import classes_without
    from optuna_study.data.folder.walk import (
        NO_PICTURE,
        UNREADABLE_PICTURE,
        LeftOut,
        is_picture_name,
    )
    from optuna_study.data.pictures import require_learnable

    listing = list_folder(folder)
    require_classes(listing)
    with without_warnings():
        sides = {file: shorter_side(file.path) for file in listing.files}
    readable = [file for file, side in sides.items() if side is not None]
    if not readable:
        raise DataError(f"{folder}: none of its {len(sides)} files can be read as a picture")
    classes = tuple(sorted({file.label for file in readable}))
    digests = sorted({file.digest for file in readable})
    labels = np.array([classes.index(file.label) for file in readable], dtype=np.int64)
    groups = np.searchsorted(digests, [file.digest for file in readable]).astype(np.int64)
    training = np.array([file.part in (None, "training") for file in readable])
    require_learnable(labels[training], groups[training], classes, folder, listing.fewest)
    unreadable = [
        LeftOut(file.name, UNREADABLE_PICTURE if is_picture_name(file.path.name) else NO_PICTURE)
        for file, side in sides.items()
        if side is None
    ]
    counted = count_line(len(readable), [*listing.left_out, *unreadable])
    notes = (
        *((counted,) if counted else ()),
        *listing.remarks,
        *listing.problems,
        *classes_without(listing, classes),
    )
    side = round(statistics.median(side for side in sides.values() if side))
    return Survey(classes, len(readable), side, notes)


def study_file_text(name: str, folder: Path, survey: Survey) -> str:
    """The text of a study file for a folder."""
    import tomlkit

    training = max(1, int(survey.pictures * TRAINING_SHARE))
    image_size = image_size_for(survey.shorter_side)
    batch_sizes = batch_sizes_for(training)
    epochs = _epochs(FULL_PICTURES, training, 20, 150)
    cpu_training = min(training, CPU_TRAINING)
    subset = cpu_training / training
    return TEMPLATE.read_text(encoding="utf-8").format(
        title=tomlkit.string(f"{name}: {_listed(survey.classes)}").as_string(),
        folder=tomlkit.string(str(folder)).as_string(),
        pictures=survey.pictures,
        classes=len(survey.classes),
        side=survey.shorter_side,
        image_size=image_size,
        batch_size=batch_sizes[1],
        batch_sizes=", ".join(map(str, batch_sizes)),
        epochs=epochs,
        half=epochs // 2,
        late=epochs * 3 // 4,
        cpu_image_size=min(image_size, CPU_IMAGE_SIZE),
        cpu_subset="" if subset == 1 else f"subset = {max(subset, 0.01):.3g}\n",
        cpu_epochs=_epochs(CPU_PICTURES, cpu_training, 5, 30),
    )


def image_size_for(shorter_side: int) -> int:
    """The side a model sees: the largest usual one that pictures fill with the margin for crops.

    >>> image_size_for(256), image_size_for(100), image_size_for(20)
    (227, 64, 32)
    """
    filled = [size for size in IMAGE_SIZES if round(size * 256 / 227) <= shorter_side]
    return max(filled, default=IMAGE_SIZES[0])


def batch_sizes_for(training: int) -> tuple[int, int, int]:
    """Three batch sizes to search among, the middle one to begin with.

    >>> batch_sizes_for(746), batch_sizes_for(50_000)
    ((8, 16, 32), (32, 64, 128))
    """
    middle = 16 if training < 2_000 else 32 if training < 10_000 else 64
    return middle // 2, middle, middle * 2


def _epochs(seen: int, training: int, low: int, high: int) -> int:
    return min(max(round(seen / training), low), high)


def _listed(classes: Sequence[str]) -> str:
    shown = list(itertools.islice(classes, 5))
    return ", ".join([*shown, *(["..."] if len(classes) > len(shown) else [])])


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all."""
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except DiskFullError as error:
        path.unlink(missing_ok=True)
        raise DiskFullError(f"{path}: no space left; free some and try again") from error
    except FolderError as error:
        raise FolderError(f"{path}: cannot be written; work in a folder that can be") from error
