"""Labelled pictures in one array, made once and shared by all processes as a mapped file.

Whatever a data set comes from, it reaches training as `Pictures`. `load_or_build` keeps them in
the workspace with the training pictures first, then validation, then test, so that each side is a
slice of the file and no worker copies any of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from optuna_study.errors import DataError
from optuna_study.text import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optuna_study.data.folder.walk import LeftOut
    from optuna_study.data.grey import GreyRanges
    from optuna_study.paths import Workspace

FEWEST_PER_CLASS = 3
"""Different pictures that a class needs: one each for training, validation and test."""


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures.

    `images` is uint8 of shape (N, height, width, channels), `labels` and `groups` int64 of shape
    (N,); pictures of one group are the same or nearly so, or belong together, and stay on one side
    of the split. `fingerprint` follows from content and labels alone. `notes` holds a sentence for
    each file skipped or repaired. `sides` tells how many pictures are training, validation and
    test where they lie in that order. `parts`, where a data set has its own split, is of shape
    (N,): 0 for training, 1 for validation, 2 for test; of a part that is missing a fifth of the
    training ones is made. `grey_ranges` are those that deep grey pictures were scaled by.
    `moments` are those of `statistics.picture_moments`, where they have been kept. `left_out` are
    files that turned out to hold no picture, each with the reason.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    classes: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    sides: tuple[int, int, int] | None = None
    parts: NDArray[np.int8] | None = None
    grey_ranges: GreyRanges = field(default_factory=dict)
    moments: NDArray[np.int64] | None = None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Request:
    """What a data set is asked for.

    `cache_size` leaves a margin around `image_size` for random crops; a data set whose pictures
    fill their frame answers with `image_size` instead. Sizes are sides of squares in pixels.
    `fit` and `group` are the settings `data.fit` and `data.group`, of folders alone.
    """

    image_size: int
    cache_size: int
    workspace: Workspace
    fit: str = "crop"
    group: str = "none"


def content_fingerprint(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> str:
    """The fingerprint of pictures that are computed, not read from files."""
    digest = hashlib.sha256(json.dumps([list(images.shape), list(classes)]).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()


def resize(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Square pictures (N, side, side, channels) at another side."""
    if images.shape[1] == size:
        return images
    result = np.empty((len(images), size, size, images.shape[3]), dtype=np.uint8)
    for picture, target in zip(images, result, strict=True):
        source = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
        scaled = source.resize((size, size), Image.Resampling.BILINEAR)
        target[...] = np.asarray(scaled, dtype=np.uint8).reshape(target.shape)
    return result


def require_learnable(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    classes: tuple[str, ...],
    where: object,
    fewest: int = FEWEST_PER_CLASS,
    groups_are: str = "picture",
) -> None:
    """Refuse pictures that no classifier can be trained and judged on.

    `fewest` is how many different training pictures each class needs: one for each part that is
    made of them; `groups_are` is what shares a number in `groups`.

    Raises:
        DataError: too few classes, or a class with too few different pictures.
    """
    if len(classes) < 2:
        only = f"only one class, '{classes[0]}'" if classes else "no class"
        raise DataError(f"{where}: {only}", "a classifier needs at least two folders of pictures")
    for label, name in enumerate(classes):
        different = len(np.unique(groups[labels == label]))
        if different < fewest:
            amount = count(different, groups_are)
            if different != 1 and groups_are == "picture":
                amount = f"{different} different pictures"
            needs = f"at least {fewest}, for training, validation and test"
            if fewest < FEWEST_PER_CLASS:
                needs = f"at least {fewest} for training and what is split off"
            raise DataError(f"{where}: class '{name}' has {amount}", f"each class needs {needs}")


def computed(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...], size: int
) -> Pictures:
    """Pictures made by a program, all different, at the size asked for."""
    return Pictures(
        images=resize(images, size),
        labels=labels,
        groups=np.arange(len(labels), dtype=np.int64),
        classes=classes,
        fingerprint=content_fingerprint(images, labels, classes),
    )
