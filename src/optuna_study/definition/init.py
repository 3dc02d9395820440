"""A study file for a folder of pictures of one's own: complete, commented, launched as it is."""

from __future__ import annotations

import itertools
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.definition.names import require_name
from optuna_study.definition.read import parse_study_file, read_study_file
from optuna_study.errors import DataError, DiskFullError, FolderError, UsageError
from optuna_study.paths import writing

if TYPE_CHECKING:
    from collections.abc import Sequence

TEMPLATE = Path(__file__).with_name("init.template")
"""The study file with its gaps, as `str.format` fills them."""

TRAINING_SHARE = 0.8 * 0.8  # what the held-out test and the validation leave
FULL_PICTURES = 20_000  # seen in a trial that fine-tunes a whole network: half a minute of a GPU
STAGE_PICTURES = 2_250  # seen by the baseline of a last stage: a minute of a core
SCRATCH_PICTURES = 7_500  # seen by the one from scratch: half a minute of a core
FINETUNE_PICTURES = 8_900  # seen by a trial that fine-tunes half the network: a minute and a half
FINETUNED_FROM = 500  # training pictures: with 744 it is better than heads, with 46 worse
TRAINING_SHARE_OF_SIDE = 0.8  # resized crops of flowers at 128 px, evaluated at 160
CPU_TRAINING = 4_000  # pictures whose features the cpu profile computes: half a minute
MOST_VIEWS = 2
CPU_IMAGE_SIZE = 160  # of 3,483 flowers 90 % right, 87 % at 128 in two thirds of the time
SMALL_IMAGE_SIZE = 128
LARGEST_IMAGE_SIZE = 224  # what the network was trained with
SMALL_SIDE = 100  # pixels: smaller pictures gain nothing from more
LONG = 1.6  # a picture so many times as long as wide loses too much to a crop


@dataclass(frozen=True)
class Survey:
    """What a folder of pictures holds: as many classes and pictures, and how large these are.

    `notes` are sentences on what is left out and how the folder is read.
    """

    classes: tuple[str, ...]
    pictures: int
    shorter_side: int  # the median, in pixels
    notes: tuple[str, ...] = ()
    elongation: float = 1.0  # the median of the longer side over the shorter one


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


def study_of_folder(
    folder: Path, studies: Path = Path("studies")
) -> tuple[Path, NewStudyFile | None]:
    """The study file for a folder of pictures, named after it; written where there is none yet.

    Raises:
        UsageError: another study has the name, or the folder's cannot be made into one.
        DataError: the folder cannot be learned from.
        FolderError: the studies folder cannot be written.
        DiskFullError: no space left.
    """
    absolute = folder.expanduser().absolute()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", absolute.resolve().name).strip("-")
    path = studies / f"{name}.toml"
    if not path.exists():
        written = write_study_file(name, folder, studies)
        return written.path, written
    if read_study_file(path).folder != str(absolute):
        raise UsageError(
            f"{folder}: {path} exists already and is about other pictures; give this folder's "
            f"study a name of its own with `optuna-study init NAME --data {folder}`"
        )
    return path, None


def survey_folder(folder: Path) -> Survey:
    """Count the classes and pictures of a folder, reading no more of each than its size.

    Raises:
        DataError: the folder cannot be learned from.
    """
    import numpy as np

    from optuna_study.data.decode import without_warnings
    from optuna_study.data.folder.inspection import both_sides
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
        sides = {file: both_sides(file.path) for file in listing.files}
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
    known = [each for each in sides.values() if each is not None]
    side = round(statistics.median(shorter for shorter, _ in known))
    elongation = statistics.median(longer / shorter for shorter, longer in known)
    return Survey(classes, len(readable), side, notes, elongation)


def study_file_text(name: str, folder: Path, survey: Survey) -> str:
    """The text of a study file for a folder."""
    import tomlkit

    training = max(1, int(survey.pictures * TRAINING_SHARE))
    batch_sizes = batch_sizes_for(training)
    cpu_training = min(training, CPU_TRAINING)
    subset = cpu_training / training
    small = survey.shorter_side < SMALL_SIDE
    size = SMALL_IMAGE_SIZE if small else LARGEST_IMAGE_SIZE
    cpu_size = SMALL_IMAGE_SIZE if small else CPU_IMAGE_SIZE
    return TEMPLATE.read_text(encoding="utf-8").format(
        title=tomlkit.string(f"{name}: {_listed(survey.classes)}").as_string(),
        folder=tomlkit.string(str(folder)).as_string(),
        pictures=survey.pictures,
        classes=len(survey.classes),
        side=survey.shorter_side,
        fit="pad" if survey.elongation > LONG else "crop",
        image_size=size,
        batch_size=batch_sizes[1],
        batch_sizes=", ".join(map(str, batch_sizes)),
        epochs=_epochs(FULL_PICTURES, training, 4, 30),
        stage_epochs=_epochs(STAGE_PICTURES, cpu_training, 1, 8),
        scratch_epochs=_epochs(SCRATCH_PICTURES, cpu_training, 3, 30),
        finetune_trials=int(cpu_training >= FINETUNED_FROM),
        finetune_epochs=_epochs(FINETUNE_PICTURES, cpu_training, 2, 12),
        cpu_image_size=cpu_size,
        training_size=_smaller(size),
        cpu_training_size=_smaller(cpu_size),
        cpu_views=min(max(CPU_TRAINING // cpu_training, 1), MOST_VIEWS),
        cpu_subset="" if subset == 1 else f"subset = {max(subset, 0.01):.3g}\n",
    )


def batch_sizes_for(training: int) -> tuple[int, int, int]:
    """Three batch sizes to search among, the middle one to begin with.

    >>> batch_sizes_for(746), batch_sizes_for(50_000)
    ((16, 32, 64), (32, 64, 128))
    """
    middle = 32 if training < 10_000 else 64
    return middle // 2, middle, middle * 2


def _smaller(side: int) -> int:
    """The side of resized crops beside pictures of `side`: a multiple of 32, as networks halve.

    >>> _smaller(160), _smaller(128)
    (128, 96)
    """
    return int(TRAINING_SHARE_OF_SIDE * side) // 32 * 32


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
