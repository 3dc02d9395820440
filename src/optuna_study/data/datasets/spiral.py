"""Points on three interleaved spirals, as pictures of one pixel: x and y are its two channels.

Each arm runs from the middle outwards over two thirds of a turn, its angle disturbed by normal
noise of 0.2 radians; the arms stand a third of a turn apart. Coordinates from -1 to 1 are kept in
bytes, 255 steps an axis. A model sees each point at whatever image size it asks for as a square of
one colour; 1 is enough. Points that fall on the same step are kept on one side of the split.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from optuna_study.data.cache import load_or_build
from optuna_study.data.pictures import Pictures, Request, content_fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TITLE = "3,000 computed points on three interleaved spirals, x and y as two channels of a pixel"
CHANNELS = (2,)
CLASSES = ("first", "second", "third")
PER_CLASS = 1000
NOISE = 0.2
TURNS = 2 / 3
SEED = 20190101
"""Part of the cache key too: change it whenever the points change."""


def load(request: Request) -> Pictures:
    """The points as pictures of the size the model sees."""

    def build(_scratch: Path) -> Pictures:
        points, labels = points_of_arms()
        _, groups = np.unique(points, axis=0, return_inverse=True)
        images = points.reshape(-1, 1, 1, 2)
        side = request.image_size
        return Pictures(
            images=np.broadcast_to(images, (len(points), side, side, 2)),
            labels=labels,
            groups=groups.reshape(-1).astype(np.int64),
            classes=CLASSES,
            fingerprint=content_fingerprint(images, labels, CLASSES),
        )

    return load_or_build(f"spiral-{SEED}-{request.image_size}", request.workspace, build)


def points_of_arms(per_class: int = PER_CLASS) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Points (N, 2) in bytes, arm after arm from the middle outwards, and their labels."""
    random = np.random.RandomState(SEED)
    radius = np.linspace(0, 1, per_class)
    arms = []
    for arm in range(len(CLASSES)):
        turns = arm / len(CLASSES) + TURNS * radius
        angle = 2 * math.pi * turns + NOISE * random.standard_normal(per_class)
        arms.append(np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1))
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.int64), per_class)
    return to_bytes(np.concatenate(arms)), labels


def to_bytes(coordinates: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Coordinates from -1 to 1 as the bytes that pictures hold.

    >>> to_bytes(np.array([-1.0, 0.0, 1.0])).tolist()
    [0, 128, 255]
    """
    return np.floor((coordinates + 1) * (255 / 2) + 0.5).astype(np.uint8)
