"""What is wrong with a folder of pictures, or worth a remark, beyond its single files."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING

from optuna_study.data.folder.listing import NO_GROUP, PARTS, Listing
from optuna_study.data.grey import FEW_LEVELS
from optuna_study.text import count, join_words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from optuna_study.data.folder.reading import Reading

WIDE = 1.5
"""Median of longer by shorter side from which what a crop leaves out is worth a remark."""

_FRACTIONS = {2.0: "half", 3.0: "third", 4.0: "quarter"}


def classes_without(listing: Listing, used: Collection[str]) -> Iterator[str]:
    """A sentence on the class folders in which there is no picture."""
    without = [f"'{label}'" for label in listing.classes if label not in used]
    if without:
        kind = "class" if len(without) == 1 else "classes"
        yield f"{kind} without pictures, left out: {join_words(without)}"


def split_problems(reading: Reading) -> Iterator[str]:
    """What is wrong with a split that the folder has of its own: a sentence each."""
    given = {(each.file.label, each.file.part) for each in reading.readable}
    for part, name in reading.listing.part_names.items():
        missing = [f"'{label}'" for label in reading.classes if (label, part) not in given]
        if missing:
            yield f"'{name}' has no pictures of {join_words(missing)}"
    sharing = _sharing(reading)
    if reading.listing.part_names and sharing:
        yield f"in more than one part of the split given: {count(sharing, 'picture')}"


def _sharing(reading: Reading) -> int:
    """How many pictures, of copies one, a folder's own split has on several sides."""
    parts = defaultdict(set)
    for number, each in zip(reading.copies.tolist(), reading.readable, strict=True):
        parts[number].add(each.file.part)
    return sum(len(each) > 1 for each in parts.values())


def folder_remarks(
    reading: Reading, parts: NDArray[np.int8] | None, fit: str = "crop"
) -> Iterator[str]:
    """What a person may not have meant; `parts` is the part of each picture, where it has one."""
    if parts is not None:
        yield from _split_groups(reading, parts)
    aspects = [max(each.aspect, 1 / each.aspect) for each in reading.readable]
    aspect = statistics.median(aspects) if aspects else 1.0
    if aspect > WIDE and fit == "crop":
        left = _FRACTIONS.get(round(aspect, 1), f"{1 / aspect:.0%}")
        yield (
            f"median aspect {aspect:.1f}: the middle {left} is all that a model sees of a "
            'picture; data.fit = "pad" or "stretch" shows the whole'
        )
    yield from _grey_remarks(reading)


def _split_groups(reading: Reading, parts: NDArray[np.int8]) -> Iterator[str]:
    """Sub-folders, or groups of a split given, that lie on several sides."""
    listing = reading.listing
    if listing.grouping != NO_GROUP and len(listing.part_names) < 2:
        return
    kind = "sub-folder" if listing.grouping == NO_GROUP else "group"
    on_sides = defaultdict(set)
    for each, part in zip(reading.readable, parts.tolist(), strict=True):
        name = each.file.sub_folder if kind == "sub-folder" else each.file.group
        if name is not None:
            on_sides[name].add(part)
    split = sum(len(each) > 1 for each in on_sides.values())
    if not split:
        return
    sentence = (
        f"pictures of one {kind} fall into different parts: {split} of the {len(on_sides)} {kind}s"
    )
    if len(listing.part_names) < len(PARTS):
        sentence += '; data.group = "folder" keeps each on one side'
    yield sentence


def _grey_remarks(reading: Reading) -> Iterator[str]:
    greys = reading.greys
    for low, high in greys.ranges.values():
        yield f"grey levels of more than 8 bits, {low:g} to {high:g}, become 0 to 255"
    shallow = sum(not each.deep for each in reading.readable)
    if greys.ranges and shallow:
        deep = len(reading.readable) - shallow
        yield (
            f"both kinds are there: {count(deep, 'file')} of more than 8 bits, scaled by one "
            f"range, and {shallow} of 8 bits, which stay as they are"
        )
    if greys.levels < FEW_LEVELS:
        yield f"pictures of more than 8 bits come to only {greys.levels} levels of grey"
