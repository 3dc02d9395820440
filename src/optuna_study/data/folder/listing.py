"""The files of a folder of pictures with their classes, and what is left out.

Vocabulary: a *part* is training, validation or test. A *group* is a name that pictures share which
must not fall into different parts.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optuna_study.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from optuna_study.data.folder.walk import LeftOut

PARTS = ("training", "validation", "test")
NO_GROUP, FOLDER_GROUP = "none", "folder"
"""`data.group` where pictures have no group, or that of their sub-folder."""

LAYOUTS = "put the pictures of each class in a folder of its own, or list them in a labels.csv"

IN_NO_CLASS = "in no class folder"


@dataclass(frozen=True)
class PictureFile:
    """A file that may hold a picture: its class, and part and group where these are given.

    `sub_folder` is the first folder below the class folder that it lies in, with the class.
    """

    path: Path
    name: str
    label: str
    part: str | None = None
    group: str | None = None
    sub_folder: str | None = None
    digest: str = ""


@dataclass(frozen=True)
class Listing:
    """What a folder holds, by names alone; the files in the order of class and content.

    `classes` are those with a folder, also without a picture; `problems` and `remarks` are
    sentences. `part_names` is how the folder or the table itself calls the parts it gives.
    """

    folder: Path
    files: tuple[PictureFile, ...]
    classes: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    part_names: Mapping[str, str] = field(default_factory=dict)
    grouping: str = NO_GROUP

    @property
    def fingerprint(self) -> str:
        """Of contents, labels, parts and groups; names and places do not matter."""
        return folder_fingerprint(self.files)

    @property
    def fewest(self) -> int:
        """Different training pictures that each class needs: one for each part made of them."""
        return len(PARTS) + (1 - len(self.part_names) if self.part_names else 0)


def require_classes(listing: Listing) -> None:
    """Refuse a folder that has no class folder and no table.

    Raises:
        DataError: nothing says which class a picture is of.
    """
    if listing.files:
        return
    holds = "files but no class folders" if listing.left_out else "no pictures"
    if any(each.reason == IN_NO_CLASS for each in listing.left_out):
        holds = "pictures but no class folders"
    raise DataError(f"{listing.folder}: holds {holds}", LAYOUTS)


def folder_fingerprint(files: Iterable[PictureFile]) -> str:
    """A fingerprint of contents, labels, parts and groups; names and places do not matter."""
    lines = sorted(
        "\0".join([file.label, file.digest, *_more(file.part), *_more(file.group, "group ")])
        for file in files
    )
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _more(value: str | None, kind: str = "") -> list[str]:
    return [] if value is None else [f"{kind}{value}"]


def count_line(used: int, left_out: Sequence[LeftOut], most: int = 4) -> str | None:
    """How many pictures are used and how many files are not, and why; None where all are used."""
    if not left_out:
        return None
    reasons = Counter(each.reason.partition(":")[0] for each in left_out).most_common()
    shown = [f"{count} {reason}" for reason, count in reasons[:most]]
    if len(reasons) > most:
        shown.append(f"{sum(count for _, count in reasons[most:])} for other reasons")
    return f"{used} used, {len(left_out)} left out: {', '.join(shown)}"


def twins(names: Sequence[str]) -> list[str]:
    """A sentence for each two names that look alike, and what they differ by.

    >>> twins(["Cat", "cat", "dog"])
    ["classes 'Cat' and 'cat' differ by case alone; both are kept"]
    """
    forms: Sequence[tuple[str, Callable[[str], str]]] = (
        ("Unicode form", lambda name: unicodedata.normalize("NFC", name)),
        ("case", str.casefold),
        ("blanks", lambda name: " ".join(name.split())),
    )
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        key = name
        for _, form in forms:
            key = form(key)
        alike[unicodedata.normalize("NFC", key)].append(name)
    sentences = []
    for members in alike.values():
        for one, other in itertools.pairwise(members):
            kinds = [kind for kind, form in forms if form(one) == form(other)]
            kind = f"{kinds[0]} alone" if kinds else "case, blanks or Unicode form"
            show = ascii if kind.startswith("Unicode") else repr
            sentences.append(
                f"classes {show(one)} and {show(other)} differ by {kind}; both are kept"
            )
    return sentences


def is_pattern(group: str) -> bool:
    """Whether a value of `data.group` is a regular expression of names, with its (group)."""
    return "(" in group


def is_column(group: str) -> bool:
    """Whether a value of `data.group` is the name of a table's column."""
    return group not in (NO_GROUP, FOLDER_GROUP) and not is_pattern(group)


def group_in_name(name: str, group: str) -> str | None:
    """The group that a pattern finds in a file's name; None where it finds none, or is none."""
    match = re.search(group, name) if is_pattern(group) else None
    return match[match.lastindex or 0] if match else None


def require_groups(listing: Listing, group: str) -> None:
    """Refuse a grouping that groups nothing: it would be taken for one that does.

    Raises:
        DataError: no file has a group.
    """
    if group == NO_GROUP or any(file.group is not None for file in listing.files):
        return
    if group == FOLDER_GROUP:
        why = "its class folders have no sub-folders"
    elif is_pattern(group):
        why = "no file's name holds it"
    else:
        why = "it has no table with that column; 'folder' takes sub-folders, (...) a pattern"
    raise DataError(f"{listing.folder}: data.group = '{group}' groups nothing: {why}")
