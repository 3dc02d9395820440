"""Decodes the files of a folder: how each one looks, its pixels, and what had to be mended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optuna_study.data.decode import (
    CROP,
    LEAST_SIDE,
    SMALLEST_SIDE,
    THUMBNAIL_SIDE,
    UNREADABLE,
    decode_bytes,
    open_image,
    thumbnail,
    to_square,
    without_warnings,
)
from optuna_study.data.duplicates import connect, group
from optuna_study.data.folder.digests import THREADS
from optuna_study.data.folder.walk import (
    NO_PICTURE,
    UNREADABLE_PICTURE,
    LeftOut,
    is_picture_name,
    walk,
)
from optuna_study.data.grey import few_levels, find_ranges, kind_of, sample
from optuna_study.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from optuna_study.data.decode import Framing
    from optuna_study.data.folder.listing import PictureFile
    from optuna_study.data.grey import GreyRanges


@dataclass(frozen=True)
class Inspection:
    """What decoding one file gave: how it looks, and sentences; no thumbnail if unreadable.

    `deep` says that the picture has more than 8 bits of grey.
    """

    file: PictureFile
    thumbnail: NDArray[np.uint8] | None
    aspect: float = 1.0
    grey: bool = False
    deep: bool = False
    sentences: tuple[str, ...] = ()

    @property
    def meant_as_picture(self) -> bool:
        """Whether an unreadable file is one that was to be read, by its name or what it holds."""
        foreign = any(not each.startswith(NO_PICTURE) for each in self.sentences)
        return foreign or is_picture_name(self.file.path.name)

    @property
    def left_out(self) -> LeftOut:
        """An unreadable file, and why."""
        reason = f"{UNREADABLE_PICTURE}: {'; '.join(self.sentences)}"
        return LeftOut(self.file.name, reason if self.meant_as_picture else NO_PICTURE)


@dataclass(frozen=True)
class Greys:
    """The deep grey pictures of a data set: their range, and how many levels they come to."""

    ranges: GreyRanges
    files: int = 0
    levels: int = 256


def measure_greys(files: Sequence[PictureFile]) -> Greys:
    """Find one range for all deep grey pictures; of all others only the header is read."""

    def look(file: PictureFile) -> tuple[str, NDArray[np.float64]] | None:
        try:
            with file.path.open("rb") as opened, open_image(opened) as image:
                kind = kind_of(image)
                return None if kind is None else (kind, sample(image, len(files)))
        except UNREADABLE:
            return None  # inspecting it will say why

    with without_warnings(), ThreadPoolExecutor(THREADS) as pool:
        samples = [each for each in pool.map(look, files) if each is not None]
    ranges = find_ranges(samples)
    return Greys(ranges, len(samples), few_levels(samples, ranges) if samples else 256)


def inspect_file(
    file: PictureFile,
    size: int | None = None,
    framing: Framing = CROP,
    ranges: GreyRanges | None = None,
) -> tuple[Inspection, NDArray[np.uint8] | None]:
    """Decode one file: how it looks, and its pixels (size, size, 3) where a size is given."""
    suffix = file.path.suffix
    try:
        data = file.path.read_bytes()
        small = large = decode_bytes(data, suffix, LEAST_SIDE, ranges)
        if size and size > LEAST_SIDE:
            large = decode_bytes(data, suffix, size, ranges)
    except OSError as error:
        return Inspection(file, None, sentences=(f"cannot be read ({error.strerror})",)), None
    except DataError as error:
        return Inspection(file, None, sentences=(str(error),)), None
    inspection = Inspection(
        file=file,
        thumbnail=thumbnail(small.image),
        aspect=small.image.width / small.image.height,
        grey=small.grey,
        deep=small.deep,
        sentences=small.repairs,
    )
    return inspection, to_square(large.image, size, 3, framing) if size else None


def inspect_files(
    files: Sequence[PictureFile],
    ranges: GreyRanges | None = None,
    framing: Framing = CROP,
    images: NDArray[np.uint8] | None = None,
) -> list[Inspection]:
    """How every file looks, decoded by a few threads; the pixels into `images` where given."""
    size = None if images is None else images.shape[1]

    def into(position: int) -> Inspection:
        inspection, pixels = inspect_file(files[position], size, framing, ranges)
        if images is not None and pixels is not None:
            images[position] = pixels
        return inspection

    with without_warnings(), ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(into, range(len(files))))


def group_pictures(inspections: Sequence[Inspection]) -> NDArray[np.int64]:
    """A group number for each readable file, the same for those that are the same or nearly so."""
    shape = (0, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
    thumbnails = [each.thumbnail for each in inspections if each.thumbnail is not None]
    return group(
        [each.file.digest for each in inspections],
        np.stack(thumbnails) if thumbnails else np.empty(shape, dtype=np.uint8),
        np.array([each.aspect for each in inspections]),
    )


def join_groups(groups: NDArray[np.int64], names: Sequence[str | None]) -> NDArray[np.int64]:
    """Group numbers where also those with one of the names in common are joined."""
    members: dict[str, int] = {}
    pairs = [
        (number, members.setdefault(name, number))
        for number, name in zip(groups.tolist(), names, strict=True)
        if name is not None
    ]
    if not pairs:
        return groups
    return connect(int(groups.max()) + 1, np.array(pairs, dtype=np.int64))[groups]


def copies_among(
    inspections: Sequence[Inspection], groups: NDArray[np.int64]
) -> list[list[Inspection]]:
    """The groups of more than one picture, each in the order of names."""
    members: dict[int, list[Inspection]] = {}
    for number, each in zip(groups.tolist(), inspections, strict=True):
        members.setdefault(number, []).append(each)
    return [
        sorted(each, key=lambda inspection: inspection.file.name)
        for each in members.values()
        if len(each) > 1
    ]


def find_pictures(paths: Sequence[Path]) -> tuple[list[Path], list[LeftOut]]:
    """Picture files given one by one or as folders of them, and what of the folders is none.

    A file of a folder whose name does not say that it is a picture is one if it holds one.

    Raises:
        DataError: a folder that cannot be read, or in which there is no picture.
    """
    found: list[Path] = []
    left_out: list[LeftOut] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        contents, before = walk(path), len(found)
        left_out += contents.left_out
        for each in contents.files:
            if is_picture_name(each.path.name) or both_sides(each.path) is not None:
                found.append(each.path)
            else:
                left_out.append(LeftOut(each.name, NO_PICTURE))
        if len(found) == before:
            raise DataError(f"{path}: holds no pictures")
    return found, left_out


def both_sides(path: Path) -> tuple[int, int] | None:
    """A picture's shorter and longer side in pixels, from its header; None when it is none."""
    try:
        with path.open("rb") as file, open_image(file) as image:
            shorter, longer = sorted(image.size)
            return (shorter, longer) if shorter >= SMALLEST_SIDE else None
    except UNREADABLE:
        return None
