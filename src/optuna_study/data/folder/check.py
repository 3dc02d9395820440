"""Looks through a folder of pictures for what would spoil training or its figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.data.folder.inspection import Inspection, copies_among
from optuna_study.data.folder.layout import list_folder
from optuna_study.data.folder.listing import (
    IN_NO_CLASS,
    NO_GROUP,
    PARTS,
    count_line,
    require_classes,
)
from optuna_study.data.folder.reading import Reading, read_files
from optuna_study.data.folder.remarks import classes_without, folder_remarks, split_problems
from optuna_study.data.pictures import FEWEST_PER_CLASS
from optuna_study.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from optuna_study.data.folder.walk import LeftOut
    from optuna_study.data.grey import GreyRanges

IMBALANCE = 2.0
"""How many times the smallest class the largest may be before that is a problem."""


@dataclass(frozen=True)
class Copies:
    """Pictures that are the same or nearly so."""

    files: tuple[str, ...]
    across_labels: bool


@dataclass(frozen=True)
class FolderReport:
    """What a folder holds and what is wrong with it.

    `classes` counts readable pictures, `different` those that are neither identical nor nearly so,
    `parts` those of training, validation and test; it is empty where no classifier can be trained.
    `left_out` is every other file, unreadable ones among them. `imbalance` is the largest class by
    the smallest. `problems` want a hand, `remarks` are what a person may not have meant.
    """

    folder: str
    classes: dict[str, int]
    different: dict[str, int]
    parts: dict[str, int]
    left_out: tuple[LeftOut, ...]
    imbalance: float
    grey_ranges: GreyRanges
    unreadable: tuple[str, ...]
    mended: tuple[str, ...]
    identical: tuple[Copies, ...]
    near_identical: tuple[Copies, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def check_folder(folder: Path, group: str = NO_GROUP) -> FolderReport:
    """Read every picture of a folder and report; `group` is a value of `data.group`.

    Raises:
        DataError: no such folder, one that cannot be read, or pictures without classes.
    """
    listing = list_folder(folder, group)
    if not listing.classes and any(each.reason == IN_NO_CLASS for each in listing.left_out):
        require_classes(listing)
    reading = read_files(listing)
    try:
        parts = reading.parts()
    except DataError:  # the problems say why
        parts = None
    unreadable = [each for each in reading.inspections if each.thumbnail is None]
    meant = [each for each in unreadable if each.meant_as_picture]
    classes = Counter({label: 0 for label in sorted({each.file.label for each in meant})})
    classes.update(each.file.label for each in reading.readable)
    pairs = zip(reading.labels.tolist(), reading.copies.tolist(), strict=True)
    different = Counter(reading.classes[label] for label, _ in set(pairs))
    counts = [count for count in classes.values() if count]
    imbalance = max(counts) / min(counts) if counts else 1.0
    distinct = {label: different[label] for label in sorted(classes)}
    identical = _copies(_identical(reading.readable))
    near_identical = _copies(
        members
        for members in copies_among(reading.readable, reading.copies)
        if len({each.file.digest for each in members}) > 1
    )
    left_out = (*listing.left_out, *(each.left_out for each in unreadable))
    counted = count_line(len(reading.readable), left_out)
    return FolderReport(
        folder=str(folder),
        classes={label: classes[label] for label in sorted(classes)},
        different=distinct,
        parts={}
        if parts is None
        else {part: int((parts == number).sum()) for number, part in enumerate(PARTS)},
        left_out=tuple(sorted(left_out, key=lambda each: each.file)),
        imbalance=imbalance,
        grey_ranges=reading.greys.ranges,
        unreadable=_sentences(meant),
        mended=_sentences(each for each in reading.readable if each.sentences),
        identical=identical,
        near_identical=near_identical,
        problems=(
            *listing.problems,
            *classes_without(listing, classes),
            *_class_problems(reading, distinct, imbalance),
            *split_problems(reading),
            *([f"unreadable as pictures: {len(meant)}"] if meant else []),
            *_copy_problems(identical, "byte-identical"),
            *_copy_problems(near_identical, "near-identical"),
        ),
        remarks=(
            *((counted,) if counted else ()),
            *listing.remarks,
            *folder_remarks(reading, parts),
        ),
    )


def _sentences(inspections: Iterable[Inspection]) -> tuple[str, ...]:
    return tuple(sorted(f"{each.file.name}: {'; '.join(each.sentences)}" for each in inspections))


def _identical(readable: Sequence[Inspection]) -> list[list[Inspection]]:
    digests: dict[str, list[Inspection]] = {}
    for each in readable:
        digests.setdefault(each.file.digest, []).append(each)
    return [members for members in digests.values() if len(members) > 1]


def _copies(groups: Iterable[Sequence[Inspection]]) -> tuple[Copies, ...]:
    copies = (
        Copies(
            files=tuple(sorted(each.file.name for each in members)),
            across_labels=len({each.file.label for each in members}) > 1,
        )
        for members in groups
    )
    return tuple(sorted(copies, key=lambda each: each.files))


def _class_problems(
    reading: Reading, different: Mapping[str, int], imbalance: float
) -> Iterator[str]:
    if len(different) < 2:
        yield f"{len(different) or 'no'} class; a classifier needs at least two"
    for label, count in different.items():
        if count < FEWEST_PER_CLASS:
            amount = "1 picture" if count == 1 else f"{count} different pictures"
            yield f"class '{label}' has {amount}, fewer than {FEWEST_PER_CLASS}"
    if imbalance > IMBALANCE:
        yield f"the largest class has {imbalance:.1f} times the pictures of the smallest"


def _copy_problems(copies: Sequence[Copies], kind: str) -> Iterator[str]:
    if copies:
        across = sum(each.across_labels for each in copies)
        groups = "group" if len(copies) == 1 else "groups"
        yield f"{len(copies)} {groups} of {kind} pictures, {across} of them across labels"
