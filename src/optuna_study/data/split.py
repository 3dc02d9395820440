"""Which pictures are for training, validation and test: stratified, grouped, fixed by the data.

A fifth is held out for the test and a fifth of the rest validates; the parts that a data set has
of its own are used as they are. Pictures of one group, identical or nearly so or of one patient,
stay on one side. scikit-learn takes two seconds to import, so `data.cache` keeps the result beside
the decoded pictures.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optuna_study.data.pictures import Pictures

TRAINING, VALIDATION, TEST = range(3)
FOLDS = 5
MANY = 10_000
"""Pictures above which a simpler cut is made."""


@dataclass(frozen=True)
class Split:
    """Indices of the pictures on each side; every prefix of the training ones is stratified."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split(pictures: Pictures, subset: float = 1.0, limit: int = 0) -> Split:
    """The split of some pictures, with only so many of the training ones; see `used_pictures`."""
    if pictures.sides is not None:
        ends = np.cumsum(pictures.sides)
        train, validation, test = np.split(np.arange(ends[2]), ends[:2])
    else:
        parts = assign_parts(
            pictures.labels, pictures.groups, pictures.fingerprint, pictures.parts
        )
        train, validation, test = (np.flatnonzero(parts == part) for part in range(3))
        train = _interleave(train, pictures.labels, _seed(pictures.fingerprint))
    used = used_pictures(len(train), len(np.unique(pictures.labels[train])), subset, limit)
    return Split(train=train[:used], validation=validation, test=test)


def used_pictures(count: int, present: int, subset: float, limit: int = 0) -> int:
    """How many of `count` training pictures of `present` classes are used: one a class at least.

    `subset` is a fraction of those that `limit` leaves; a limit of 0 leaves all.

    >>> used_pictures(1000, 5, 0.25), used_pictures(1000, 5, 0.25, limit=80)
    (250, 20)
    >>> used_pictures(1000, 5, 0.001), used_pictures(60, 5, 1.0, limit=90)
    (5, 60)
    """
    left = min(count, limit) if limit else count
    return min(count, max(present, round(subset * left)))


def assign_parts(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    fingerprint: str,
    given: NDArray[np.int8] | None = None,
) -> NDArray[np.int8]:
    """The part of each picture: 0 training, 1 validation, 2 test, as far as not `given`."""
    parts = np.zeros(len(labels), dtype=np.int8) if given is None else given.copy()
    seed = _seed(fingerprint)
    for part, own_seed in ((TEST, seed), (VALIDATION, seed + 1)):
        if not (parts == part).any():
            rest = np.flatnonzero(parts == TRAINING)
            parts[_cut(labels, groups, rest, own_seed)] = part
    return parts


def _seed(fingerprint: str) -> int:
    return int(fingerprint[:8], 16)


def _cut(
    all_labels: NDArray[np.int64],
    all_groups: NDArray[np.int64],
    indices: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """A fifth of some pictures, by the fold nearest to the classes' shares."""
    labels, groups = all_labels[indices], all_groups[indices]
    if len(indices) > MANY:
        return indices[_cut_quickly(labels, groups, seed)]
    from sklearn.model_selection import StratifiedGroupKFold

    counts = np.bincount(labels)
    # Where even the largest class has fewer different pictures than folds, that many folds.
    most = max(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    number = max(2, min(FOLDS, most))
    folds = StratifiedGroupKFold(n_splits=number, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # Classes with fewer pictures than folds are legal here; the best fold is chosen below.
        warnings.simplefilter("ignore", UserWarning)
        cuts = list(folds.split(np.zeros(len(labels)), labels, groups))

    def distance(cut: tuple[NDArray[np.int64], NDArray[np.int64]]) -> tuple[int, int, float]:
        kept, taken = (np.bincount(labels[side], minlength=len(counts)) for side in cut)
        missing = (counts > 0) & (kept == 0)
        absent = (counts > 0) & (taken == 0)
        return int(missing.sum()), int(absent.sum()), float(np.abs(taken - counts / number).sum())

    fifth: NDArray[np.int64] = indices[min(cuts, key=distance)[1]]
    return fifth


def _cut_quickly(
    labels: NDArray[np.int64], groups: NDArray[np.int64], seed: int
) -> NDArray[np.bool_]:
    """Which of many pictures make a fifth: of each class a fifth of its groups.

    scikit-learn's folds weigh every group against every fold, minutes for a hundred thousand.
    """
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    taken = np.zeros(len(first), dtype=bool)
    random = np.random.default_rng(seed)
    for label in np.unique(labels[first]):
        members = random.permutation(np.flatnonzero(labels[first] == label))
        taken[members[: max(1, round(len(members) / FOLDS))]] = True
    return taken[group.reshape(-1)]


def _interleave(
    train: NDArray[np.int64], labels: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Training pictures in a random order whose every prefix holds the classes in their shares."""
    shuffled = np.random.default_rng(seed).permutation(train)
    key = np.empty(len(shuffled))
    for label in np.unique(labels[shuffled]):
        members = np.flatnonzero(labels[shuffled] == label)
        # The first of each class comes before everything else, so that no prefix lacks a class.
        key[members] = np.arange(len(members)) / len(members)
    return shuffled[np.argsort(key, kind="stable")]
