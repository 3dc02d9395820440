"""Reads a folder of pictures, a folder a class, whatever is wrong with single files.

Files are identified by their content, not by their names: the order, the fingerprint and the cache
are the same wherever the folder lies. A second reading touches no picture: sizes and times tell
that nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optuna_study.data.cache import array_file, load_or_build
from optuna_study.data.decode import (
    LEAST_SIDE,
    THUMBNAIL_SIDE,
    DecodedImage,
    decode_bytes,
    thumbnail,
    to_square,
    without_warnings,
)
from optuna_study.data.duplicates import group
from optuna_study.data.pictures import Pictures, require_learnable
from optuna_study.errors import DataError
from optuna_study.paths import untouched_by_bad_data, writing, written_beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from optuna_study.paths import Workspace

THREADS = min(4, os.cpu_count() or 1)
"""Threads that read and decode: Pillow lets go of the interpreter while it works."""

SETTLED_SECONDS = 2.0
"""Age below which a file's time may not tell of a further change."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureFile:
    """A file below a class folder."""

    path: Path
    name: str
    label: str
    digest: str


@dataclass(frozen=True)
class Inspection:
    """What decoding one file gave: how it looks, and sentences; no thumbnail if unreadable."""

    file: PictureFile
    thumbnail: NDArray[np.uint8] | None
    aspect: float
    grey: bool
    sentences: tuple[str, ...]


def read_folder(folder: Path, size: int, workspace: Workspace) -> Pictures:
    """The pictures of a folder of class folders at (size, size), decoded once, then cached.

    Raises:
        DataError: no such folder, or too little in it to learn from.
    """
    index = workspace.cache(_index_name(folder))
    with untouched_by_bad_data(index):
        files = list_files(folder, index)
        fingerprint = folder_fingerprint(files)

        def build(scratch: Path) -> Pictures:
            log.info("decoding %d pictures of %s, this once", len(files), folder)
            return _decoded(folder, files, size, scratch, fingerprint)

        if not files:
            what, step = _nothing_in(folder)
            raise DataError(f"{folder}: {what}", step)
        return load_or_build(f"{fingerprint[:32]}-{size}", workspace, build)


def list_files(folder: Path, index: Path | None = None) -> list[PictureFile]:
    """Every visible file below the class folders, in the order of class and content.

    `index` is a file that remembers the digests of files by size and time.

    Raises:
        DataError: no such folder, or one that cannot be read.
    """
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise DataError(
            f"{folder}: {what}", "give one that holds a folder of pictures for each class"
        )
    try:
        paths = [
            path
            for label in sorted(_visible(folder.iterdir()))
            if label.is_dir()
            for path in sorted(label.rglob("*"))
            # A link to nothing is named as unreadable; pipes and the like would never end.
            if (path.is_file() or path.is_symlink()) and not path.is_dir()
            if not _hidden(path.relative_to(folder))
        ]
    except OSError as error:
        where = error.filename or folder
        raise DataError(f"{where}: cannot be read ({error.strerror})") from error
    files = []
    for path, digest in zip(paths, _digests(paths, index), strict=True):
        name = _printable(path.relative_to(folder))
        files.append(PictureFile(path, name, name.split("/")[0], digest))
    return sorted(files, key=lambda file: (file.label, file.digest, file.name))


def folder_fingerprint(files: Iterable[PictureFile]) -> str:
    """A fingerprint of contents and labels; names and places do not matter."""
    lines = sorted(f"{file.label}\0{file.digest}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def inspect_file(
    file: PictureFile, size: int | None = None
) -> tuple[Inspection, NDArray[np.uint8] | None]:
    """Decode one file: how it looks, and its pixels (size, size, 3) where a size is given."""
    try:
        data = file.path.read_bytes()
        image = decode_bytes(data, file.path.suffix, LEAST_SIDE)
        large = decode_bytes(data, file.path.suffix, size) if size and size > LEAST_SIDE else image
    except OSError as error:
        sentence = f"cannot be read ({error.strerror})"
        return Inspection(file, None, 1.0, grey=False, sentences=(sentence,)), None
    except DataError as error:
        return Inspection(file, None, 1.0, grey=False, sentences=(str(error),)), None
    small = thumbnail(image.image)
    pixels = to_square(large.image, size, 3) if size else None
    return Inspection(file, small, _aspect(image), image.grey, image.repairs), pixels


def inspect_files(files: Sequence[PictureFile]) -> list[Inspection]:
    """How every file looks, decoded by a few threads."""
    with without_warnings(), ThreadPoolExecutor(THREADS) as pool:
        return [inspection for inspection, _ in pool.map(inspect_file, files)]


def group_pictures(inspections: Sequence[Inspection]) -> NDArray[np.int64]:
    """A group number for each readable file."""
    shape = (0, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
    thumbnails = [each.thumbnail for each in inspections if each.thumbnail is not None]
    return group(
        [each.file.digest for each in inspections],
        np.stack(thumbnails) if thumbnails else np.empty(shape, dtype=np.uint8),
        np.array([each.aspect for each in inspections]),
    )


def _decoded(
    folder: Path, files: Sequence[PictureFile], size: int, scratch: Path, fingerprint: str
) -> Pictures:
    shape = (len(files), size, size, 3)
    images = array_file(scratch / "all.npy", shape)

    def into(position: int) -> Inspection:
        inspection, pixels = inspect_file(files[position], size)
        if pixels is not None:
            images[position] = pixels
        return inspection

    with without_warnings(), ThreadPoolExecutor(THREADS) as pool:
        inspections = list(pool.map(into, range(len(files))))
    good = [position for position, each in enumerate(inspections) if each.thumbnail is not None]
    _require_readable(folder, inspections)
    readable = [inspections[position] for position in good]
    classes = tuple(sorted({each.file.label for each in readable}))
    labels = np.array([classes.index(each.file.label) for each in readable], dtype=np.int64)
    groups = group_pictures(readable)
    require_learnable(labels, groups, classes, folder)
    all_grey = all(each.grey for each in readable)
    return Pictures(
        images=_rows(images, good)[..., :1] if all_grey else _rows(images, good),
        labels=labels,
        groups=groups,
        classes=classes,
        fingerprint=fingerprint,
        notes=(*_sentences(inspections, all_grey=all_grey), *_conflicts(readable, groups)),
    )


def _rows(images: NDArray[np.uint8], good: Sequence[int]) -> NDArray[np.uint8]:
    """The readable pictures moved to the front of their own file, none of it in memory at once."""
    for position, source in enumerate(good):
        if position != source:
            images[position] = images[source]
    return images[: len(good)]


def _require_readable(folder: Path, inspections: Sequence[Inspection]) -> None:
    total = Counter(each.file.label for each in inspections)
    unreadable = Counter(each.file.label for each in inspections if each.thumbnail is None)
    lost = [label for label in sorted(total) if total[label] == unreadable[label]]
    if not lost:
        return
    first = next(each for each in inspections if each.file.label == lost[0])
    if len(lost) == len(total):
        what = f"none of its {len(inspections)} files can be read as a picture"
    else:
        what = f"none of the {total[lost[0]]} files of class '{lost[0]}' can be read as a picture"
    raise DataError(f"{folder}: {what}", f"the first: {first.file.name}: {first.sentences[0]}")


def _sentences(inspections: Iterable[Inspection], *, all_grey: bool) -> list[str]:
    notes = []
    for each in sorted(inspections, key=lambda each: each.file.name):
        said = list(each.sentences)
        if each.grey and not all_grey:
            said.append("grey, repeated over the three colours")
        if said:
            skipped = "skipped, " if each.thumbnail is None else ""
            notes.append(f"{each.file.name}: {skipped}{'; '.join(said)}")
    return notes


def _conflicts(readable: Sequence[Inspection], groups: NDArray[np.int64]) -> list[str]:
    return [
        f"{' and '.join(each.file.name for each in members)}: the same picture under different "
        "labels; all are kept, on one side of the split"
        for members in copies_among(readable, groups)
        if len({each.file.label for each in members}) > 1
    ]


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


def _aspect(decoded: DecodedImage) -> float:
    return decoded.image.width / decoded.image.height


def _nothing_in(folder: Path) -> tuple[str, str]:
    if any(path.is_file() for path in _visible(folder.iterdir())):
        return (
            "holds files but no class folders",
            "put the pictures of each class in its own folder",
        )
    return "holds no pictures", "give a folder that holds a folder of pictures for each class"


def _visible(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if not path.name.startswith((".", "__"))]


def _hidden(name: Path) -> bool:
    return any(part.startswith((".", "__")) for part in name.parts) or name.name == "Thumbs.db"


def _printable(name: Path) -> str:
    """A file's name as text, even where its bytes are none."""
    return name.as_posix().encode(errors="surrogateescape").decode(errors="replace")


def _index_name(folder: Path) -> str:
    return f"index-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]}.json"


def _mark(path: Path) -> list[int]:
    """Size, time and number of a file: another content has another one of them."""
    try:
        state = path.stat()
    except OSError:
        return [0, 0, 0]
    return [state.st_size, state.st_mtime_ns, state.st_ino]


def _digests(paths: Sequence[Path], index: Path | None) -> list[str]:
    known: dict[str, list[object]] = {}
    if index is not None and index.is_file():
        known = json.loads(index.read_text(encoding="utf-8"))
    now = time.time_ns()
    marks = [_mark(path) for path in paths]

    def digest(position: int) -> str:
        path = paths[position]
        remembered = known.get(str(path))
        if remembered is not None and remembered[:3] == marks[position]:
            return str(remembered[3])
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            # Decoding will find the same, and say it.
            return hashlib.sha256(f"unreadable {path.name}".encode(errors="replace")).hexdigest()

    with ThreadPoolExecutor(THREADS) as pool:
        digests = list(pool.map(digest, range(len(paths))))
    settled = now - int(SETTLED_SECONDS * 1e9)
    fresh = {
        str(path): [*mark, found]
        for path, mark, found in zip(paths, marks, digests, strict=True)
        if 0 < mark[1] < settled
    }
    if index is not None and fresh != known:
        with writing(index.parent), written_beside(index) as beside:
            beside.write_text(json.dumps(fresh), encoding="utf-8")
    return digests
