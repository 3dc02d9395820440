"""Every file below a folder: linked folders are followed, none is entered twice."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MACHINE_NAMES = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "desktop.ini",
    }
)
"""Names, in lower case, that machines give to what nobody means to show; with those of a dot."""

PICTURE_SUFFIXES = frozenset(
    (
        *(".apng", ".avif", ".bmp", ".dcm", ".dib", ".dicom", ".gif", ".heic", ".heif", ".hif"),
        *(".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".mpo", ".pbm"),
        *(".pcx", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".tga", ".tif", ".tiff", ".webp"),
    )
)
"""Endings of files that are meant to be pictures; others are pictures if they hold one."""

NO_PICTURE = "not a picture"
"""Why a file of another kind is left out."""

UNREADABLE_PICTURE = "unreadable"
"""Why a file that is meant to be a picture is left out, before what is wrong with it."""


@dataclass(frozen=True)
class LeftOut:
    """A file that is not used, by its name below the folder, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class FoundFile:
    """A file by its path and its place below the folder: the folders' names and its own."""

    path: Path
    place: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its place as text."""
        return printable_name("/".join(self.place))


@dataclass
class Contents:
    """What lies below a folder: files, the places of folders, and what is hidden or no file."""

    files: list[FoundFile] = field(default_factory=list)
    folders: set[tuple[str, ...]] = field(default_factory=set)
    left_out: list[LeftOut] = field(default_factory=list)


def is_hidden(name: str) -> bool:
    """Whether a name is one of those that are never looked at.

    >>> [is_hidden(name) for name in (".net", "__MACOSX", "Thumbs.db", "__background__")]
    [True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in MACHINE_NAMES


def printable_name(name: str) -> str:
    """A file's name as text, even where its bytes are none."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def is_picture_name(name: str) -> bool:
    """Whether a file's name says that it is a picture; those of macOS's `._` never are."""
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 - of a name alone
    return suffix.casefold() in PICTURE_SUFFIXES and not name.startswith("._")


def visible_folders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, links included, by name.

    Raises:
        DataError: it cannot be read.
    """
    return [
        folder / entry.name
        for entry in _entries(folder)
        if not is_hidden(entry.name) and entry.is_dir()
    ]


def walk(folder: Path) -> Contents:
    """Everything below a folder, in the order of names; what links lead to comes last.

    Each folder is entered once: first by its own place, then by links, never by one that leads
    to a folder above it.

    Raises:
        DataError: a folder that cannot be read.
    """
    contents = Contents()
    resolved = folder.resolve()
    above = {_identity(path) for path in (resolved, *resolved.parents)}
    entered = {_identity(resolved)}
    links: list[FoundFile] = []
    _enter(FoundFile(folder, ()), contents, entered, links)
    # Links are appended while the list is read: those behind links come after all others.
    for link in links:
        identity = _identity(link.path)
        if identity in above or _leads_up(link.path, identity):
            contents.left_out.append(LeftOut(link.name, "a link to a folder above it"))
        elif identity in entered:
            contents.left_out.append(LeftOut(link.name, "a link to a folder that is read already"))
        else:
            entered.add(identity)
            contents.folders.add(link.place)
            _enter(link, contents, entered, links)
    return contents


def _enter(
    folder: FoundFile,
    contents: Contents,
    entered: set[tuple[int, int]],
    links: list[FoundFile],
) -> None:
    for entry in _entries(folder.path):
        inner = FoundFile(folder.path / entry.name, (*folder.place, entry.name))
        if is_hidden(entry.name):
            contents.left_out += _hidden_pictures(inner)
        elif entry.is_dir(follow_symlinks=False):
            contents.folders.add(inner.place)
            entered.add(_identity(inner.path))
            _enter(inner, contents, entered, links)
        elif entry.is_dir():
            links.append(inner)
        elif entry.is_file() or entry.is_symlink():  # a link to nothing is named when it is read
            contents.files.append(inner)
        else:  # pipes and the like would never end
            contents.left_out.append(LeftOut(inner.name, "neither a file nor a folder"))


def _hidden_pictures(hidden: FoundFile) -> Iterator[LeftOut]:
    """The pictures that a hidden name keeps from use; nothing else of it is named."""
    name = hidden.place[-1]
    if not hidden.path.is_dir():
        if is_picture_name(name):
            yield LeftOut(hidden.name, "its name is a hidden one")
        return
    reason = f"in the hidden folder {printable_name(name)}"
    for root, _, names in os.walk(hidden.path):
        below = Path(root).relative_to(hidden.path).parts
        for each in sorted(filter(is_picture_name, names)):
            place = "/".join((*hidden.place, *below, each))
            yield LeftOut(printable_name(place), reason)


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        where = error.filename or folder
        raise DataError(f"{where}: cannot be read ({error.strerror})") from error


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino


def _leads_up(link: Path, identity: tuple[int, int]) -> bool:
    """Whether a link leads to a folder that it lies in."""
    within = link.parent.resolve()
    return any(_identity(folder) == identity for folder in (within, *within.parents))
