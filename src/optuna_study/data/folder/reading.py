"""The files of a folder, decoded: what a data set is made of, before it is one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optuna_study.data.decode import CROP, Framing
from optuna_study.data.folder.inspection import (
    Greys,
    Inspection,
    group_pictures,
    inspect_files,
    join_groups,
    measure_greys,
)
from optuna_study.data.folder.listing import NO_GROUP, PARTS, Listing
from optuna_study.data.pictures import require_learnable
from optuna_study.data.split import assign_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Reading:
    """A folder's files, decoded: what a data set is made of, and what is said of it.

    `readable` are the pictures; `labels`, `copies` and `groups` are of them. `copies` has the same
    number for pictures that are the same or nearly so, `groups` for those that stay on one side.
    """

    listing: Listing
    inspections: tuple[Inspection, ...]
    greys: Greys
    readable: tuple[Inspection, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    copies: NDArray[np.int64]
    groups: NDArray[np.int64]

    @property
    def fingerprint(self) -> str:
        """That of the files, and of the range by which deep pictures were scaled."""
        if not self.greys.ranges:
            return self.listing.fingerprint
        ranges = json.dumps(self.greys.ranges, sort_keys=True)
        return hashlib.sha256(f"{self.listing.fingerprint}/{ranges}".encode()).hexdigest()

    @property
    def given_parts(self) -> NDArray[np.int8] | None:
        """The part of each picture by the folder's own split, where it has one."""
        if not self.listing.part_names:
            return None
        return np.array([PARTS.index(str(each.file.part)) for each in self.readable], np.int8)

    def parts(self) -> NDArray[np.int8]:
        """The part of each picture, as training will have it.

        Raises:
            DataError: too few classes or pictures.
        """
        given = self.given_parts
        training = slice(None) if given is None else given == 0
        require_learnable(
            self.labels[training],
            self.groups[training],
            self.classes,
            self.listing.folder,
            self.listing.fewest,
            "picture" if self.listing.grouping == NO_GROUP else "group",
        )
        return assign_parts(self.labels, self.groups, self.fingerprint, given)


def read_files(
    listing: Listing, images: NDArray[np.uint8] | None = None, framing: Framing = CROP
) -> Reading:
    """Decode the files of a folder, into `images` where these are given."""
    greys = measure_greys(listing.files)
    inspections = inspect_files(listing.files, greys.ranges, framing, images)
    readable = tuple(each for each in inspections if each.thumbnail is not None)
    classes = tuple(sorted({each.file.label for each in readable}))
    place = {label: position for position, label in enumerate(classes)}
    copies = group_pictures(readable)
    return Reading(
        listing=listing,
        inspections=tuple(inspections),
        greys=greys,
        readable=readable,
        classes=classes,
        labels=np.array([place[each.file.label] for each in readable], dtype=np.int64),
        copies=copies,
        groups=join_groups(copies, [each.file.group for each in readable]),
    )
