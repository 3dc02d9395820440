"""Looks through a folder of pictures for what would spoil training or its figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.data.folder import copies_among, group_pictures, inspect_files, list_files
from optuna_study.data.pictures import FEWEST_PER_CLASS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from optuna_study.data.folder import Inspection

IMBALANCE = 2.0
"""How many times the smallest class the largest may be before that is a problem."""


@dataclass(frozen=True)
class Copies:
    """Pictures that are the same or nearly so."""

    files: tuple[str, ...]
    across_labels: bool


@dataclass(frozen=True)
class FolderReport:
    """What a folder holds and what is wrong with it; `problems` is empty where nothing is.

    `classes` counts readable pictures, `different` those that are neither identical nor nearly so.
    `imbalance` is the largest class by the smallest.
    """

    folder: str
    classes: dict[str, int]
    different: dict[str, int]
    imbalance: float
    unreadable: tuple[str, ...]
    mended: tuple[str, ...]
    identical: tuple[Copies, ...]
    near_identical: tuple[Copies, ...]
    problems: tuple[str, ...]


def check_folder(folder: Path) -> FolderReport:
    """Read every picture of a folder and report.

    Raises:
        DataError: no such folder, or one that cannot be read.
    """
    inspections = inspect_files(list_files(folder))
    readable = [each for each in inspections if each.thumbnail is not None]
    groups = group_pictures(readable)
    classes = {label: 0 for label in sorted({each.file.label for each in inspections})}
    classes.update(sorted(Counter(each.file.label for each in readable).items()))
    pairs = {(each.file.label, number) for each, number in zip(readable, groups, strict=True)}
    different = Counter(label for label, _ in pairs)
    near = [
        members
        for members in copies_among(readable, groups)
        if len({each.file.digest for each in members}) > 1
    ]
    identical = _copies(_identical(readable))
    near_identical = _copies(near)
    unreadable = _said(each for each in inspections if each.thumbnail is None)
    counts = [count for count in classes.values() if count]
    imbalance = max(counts) / min(counts) if counts else 1.0
    distinct = {label: different[label] for label in classes}
    return FolderReport(
        folder=str(folder),
        classes=classes,
        different=distinct,
        imbalance=imbalance,
        unreadable=unreadable,
        mended=_said(each for each in readable if each.sentences),
        identical=identical,
        near_identical=near_identical,
        problems=(
            *_class_problems(distinct, imbalance),
            *([f"unreadable as pictures: {len(unreadable)}"] if unreadable else []),
            *_copy_problems(identical, "byte-identical"),
            *_copy_problems(near_identical, "near-identical"),
        ),
    )


def _said(inspections: Iterator[Inspection]) -> tuple[str, ...]:
    return tuple(sorted(f"{each.file.name}: {'; '.join(each.sentences)}" for each in inspections))


def _identical(readable: Sequence[Inspection]) -> list[list[Inspection]]:
    digests: dict[str, list[Inspection]] = {}
    for each in readable:
        digests.setdefault(each.file.digest, []).append(each)
    return [members for members in digests.values() if len(members) > 1]


def _copies(groups: Sequence[Sequence[Inspection]]) -> tuple[Copies, ...]:
    found = (
        Copies(
            files=tuple(sorted(each.file.name for each in members)),
            across_labels=len({each.file.label for each in members}) > 1,
        )
        for members in groups
    )
    return tuple(sorted(found, key=lambda copies: copies.files))


def _class_problems(different: dict[str, int], imbalance: float) -> Iterator[str]:
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
