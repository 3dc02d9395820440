"""Reads a folder of pictures, whatever is wrong with single files.

Files are identified by their content, not by their names: the order, the fingerprint and the cache
are the same wherever the folder lies. A second reading touches no picture: sizes and times tell
that nothing has changed.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from optuna_study.data.cache import array_file, load_or_build
from optuna_study.data.decode import Framing
from optuna_study.data.fetch import require_fetched
from optuna_study.data.folder.digests import index_name
from optuna_study.data.folder.inspection import Inspection, copies_among
from optuna_study.data.folder.layout import list_folder
from optuna_study.data.folder.listing import Listing, count_line, require_classes
from optuna_study.data.folder.reading import Reading, read_files
from optuna_study.data.folder.remarks import classes_without, folder_remarks, split_problems
from optuna_study.data.pictures import Pictures, Request
from optuna_study.errors import DataError
from optuna_study.paths import untouched_by_bad_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


log = logging.getLogger(__name__)


def read_folder(folder: Path, request: Request) -> Pictures:
    """The pictures of a folder at the size of the cache, decoded once, then kept.

    Raises:
        DataError: no such folder, or too little in it to learn from.
    """
    workspace = request.workspace
    index = workspace.cache(index_name(folder))
    with untouched_by_bad_data(index):
        listing = list_folder(folder, request.group, index)
        require_classes(listing)

        def build(scratch: Path) -> Pictures:
            log.info("decoding %d pictures of %s, this once", len(listing.files), folder)
            size, framing = request.cache_size, Framing(request.fit, request.image_size)
            images = array_file(scratch / "all.npy", (len(listing.files), size, size, 3))
            return _make_pictures(read_files(listing, images, framing), images, framing)

        pictures = load_or_build(_key(listing, request), workspace, build)
    left_out = (*listing.left_out, *pictures.left_out)
    counted = count_line(len(pictures.labels), left_out)
    said = (
        *((counted,) if counted else ()),
        *listing.remarks,
        *listing.problems,
        *classes_without(listing, pictures.classes),
        *pictures.notes,
    )
    return replace(pictures, notes=said, left_out=left_out)


def read_fetched(name: str, request: Request) -> Pictures:
    """The pictures of a data set that has been fetched.

    Raises:
        DataError: it has not, or is unusable.
    """
    return read_folder(require_fetched(name, request.workspace), request)


def _key(listing: Listing, request: Request) -> str:
    """What the decoded pictures and what is said of them follow from."""
    key = f"{listing.fingerprint[:32]}-{request.cache_size}"
    if request.fit != "crop":
        key += f"-{request.fit}"
    folders = [f"{file.sub_folder}/{file.digest}" for file in listing.files if file.sub_folder]
    if folders:  # whether the split keeps them whole is said
        key += f"-{hashlib.sha256(chr(0).join(sorted(folders)).encode()).hexdigest()[:8]}"
    return key


def _make_pictures(reading: Reading, images: NDArray[np.uint8], framing: Framing) -> Pictures:
    _require_readable(reading.listing.folder, reading.inspections)
    parts = reading.parts()
    good = [
        position for position, each in enumerate(reading.inspections) if each.thumbnail is not None
    ]
    moved = _move_to_front(images, good)
    all_grey = all(each.grey for each in reading.readable)
    return Pictures(
        images=moved[..., :1] if all_grey else moved,
        labels=reading.labels,
        groups=reading.groups,
        classes=reading.classes,
        fingerprint=reading.fingerprint,
        notes=(
            *split_problems(reading),
            *folder_remarks(reading, parts, framing.fit),
            *_file_sentences(reading.inspections, all_grey=all_grey),
            *_conflicts(reading),
        ),
        parts=parts,
        grey_ranges=reading.greys.ranges,
        left_out=tuple(each.left_out for each in reading.inspections if each.thumbnail is None),
    )


def _move_to_front(images: NDArray[np.uint8], good: Sequence[int]) -> NDArray[np.uint8]:
    """The readable pictures moved to the front of their own file, none of it in memory at once."""
    for position, source in enumerate(good):
        if position != source:
            images[position] = images[source]
    return images[: len(good)]


def _require_readable(folder: Path, inspections: Sequence[Inspection]) -> None:
    meant = [each for each in inspections if each.thumbnail is not None or each.meant_as_picture]
    total = Counter(each.file.label for each in meant)
    unreadable = Counter(each.file.label for each in meant if each.thumbnail is None)
    lost = [label for label in sorted(total) if total[label] == unreadable[label]]
    if not lost and total:
        return
    first = next(each for each in inspections if not lost or each.file.label == lost[0])
    if len(lost) == len(total):
        what = f"none of its {len(inspections)} files can be read as a picture"
    else:
        what = f"none of the {total[lost[0]]} files of class '{lost[0]}' can be read as a picture"
    raise DataError(f"{folder}: {what}; the first: {first.file.name}: {first.sentences[0]}")


def _file_sentences(inspections: Iterable[Inspection], *, all_grey: bool) -> list[str]:
    notes = []
    for each in sorted(inspections, key=lambda each: each.file.name):
        said = list(each.sentences)
        if each.grey and not all_grey:
            said.append("grey, repeated over the three colours")
        if said:
            skipped = "skipped, " if each.thumbnail is None else ""
            notes.append(f"{each.file.name}: {skipped}{'; '.join(said)}")
    return notes


def _conflicts(reading: Reading) -> list[str]:
    return [
        f"{' and '.join(each.file.name for each in members)}: the same picture under different "
        "labels; all are kept, on one side of the split"
        for members in copies_among(reading.readable, reading.copies)
        if len({each.file.label for each in members}) > 1
    ]
