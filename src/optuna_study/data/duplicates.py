"""Finds pictures that are the same, or nearly so: compressed again, scaled or retouched copies.

A perceptual hash (the signs of the lowest frequencies of a thumbnail's cosine transform) proposes
pairs, the thumbnails' pixels confirm them: a pair is near-identical when what differs is a
twentieth of what there is to see. Hashes are compared all with all, a block at a time: 12,000
pictures take about a second on one core and memory stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

HASH_SIDE = 8
HASH_DISTANCE = 10
"""Bits of 64 in which the hashes of a proposed pair differ at most."""

RELATIVE_DIFFERENCE = 0.05
"""Mean squared difference of a near-identical pair, as a part of the lesser variance of the two.

Among real pictures every pair below it was a true copy (22 of Pokémon, 4 of flowers, 2 of 12,000
of CIFAR-10); copies of one picture compressed twice lie below 0.001.
"""

ABSOLUTE_DIFFERENCE = 1.5
"""Root mean squared difference, in grey levels, that nobody sees; for empty pictures."""

ASPECT_DIFFERENCE = 0.1
"""Largest difference of the logarithms of width by height."""

BLOCK = 512
PAIRS_AT_ONCE = 4096


def group(
    digests: Sequence[str], thumbnails: NDArray[np.uint8], aspects: NDArray[np.float64]
) -> NDArray[np.int64]:
    """A group number for each picture; the same for pictures that are the same or nearly so.

    `digests` are of the files' bytes, `thumbnails` uint8 (N, 32, 32, 3), `aspects` width by
    height. Numbers count up in the order in which the groups first occur.
    """
    _, first, inverse = np.unique(np.array(digests), return_index=True, return_inverse=True)
    pairs = near_pairs(thumbnails[first], aspects[first])
    joined = connect(len(first), pairs)[inverse]
    _, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def near_pairs(thumbnails: NDArray[np.uint8], aspects: NDArray[np.float64]) -> NDArray[np.int64]:
    """The near-identical pairs among some thumbnails, as indices (pairs, 2), the lower first."""
    if len(thumbnails) < 2:
        return np.empty((0, 2), dtype=np.int64)
    small = _halve(thumbnails)
    variances = small.reshape(len(small), -1, 3).var(axis=1).mean(axis=1)
    shapes = np.log(aspects)
    confirmed = []
    for candidates in _candidates(perceptual_hashes(thumbnails)):
        for start in range(0, len(candidates), PAIRS_AT_ONCE):
            pairs = candidates[start : start + PAIRS_AT_ONCE]
            left, right = pairs.T
            difference = np.square(small[left] - small[right]).mean(axis=(1, 2, 3))
            contrast = np.minimum(variances[left], variances[right])
            near = difference <= RELATIVE_DIFFERENCE * contrast + ABSOLUTE_DIFFERENCE**2
            near &= np.abs(shapes[left] - shapes[right]) <= ASPECT_DIFFERENCE
            confirmed.append(pairs[near])
    return np.concatenate(confirmed) if confirmed else np.empty((0, 2), dtype=np.int64)


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """64 bits for each thumbnail: which of its lowest frequencies lie above their median."""
    side = thumbnails.shape[1]
    steps = np.arange(side)
    cosines = np.cos(np.pi / side * (steps + 0.5) * np.arange(HASH_SIDE)[:, np.newaxis])
    grey = thumbnails.astype(np.float32).mean(axis=3)
    frequencies = (cosines @ grey @ cosines.T).reshape(len(thumbnails), -1)
    # The first is the mean brightness, far above every other.
    bits = frequencies > np.median(frequencies[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def _halve(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails at half their side: what compression does to single pixels is averaged out."""
    count, side = len(thumbnails), thumbnails.shape[1] // 2
    blocks = thumbnails.reshape(count, side, 2, side, 2, 3)
    halved: NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32)
    return halved


def _candidates(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(hashes), BLOCK):
        block = hashes[start : start + BLOCK, np.newaxis]
        distances = np.bitwise_count(block ^ hashes[start:])
        left, right = np.nonzero(distances <= HASH_DISTANCE)
        pairs = np.stack([left, right], axis=1).astype(np.int64)
        yield pairs[left < right] + start


def connect(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the connected part that each of `count` things lies in, by pairs of them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), dtype=bool), pairs.T), shape=(count, count))
    parts: NDArray[np.int32] = connected_components(links, directed=False)[1]
    return parts.astype(np.int64)
