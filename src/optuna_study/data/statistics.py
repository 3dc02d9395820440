"""Mean, deviation and principal components of colours, from whole numbers kept with each picture.

A picture's moments are the sums of its channels' bytes and of their products: whole numbers far
below 2**53, hence exact in whatever order they are added, so that every machine finds the same
statistics, of all pictures or of any of them, without looking at a pixel again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 64  # pictures at a time


def picture_moments(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Of uint8 pictures (N, height, width, C) the sums and sums of products: (N, 1 + C, C)."""
    count, channels = len(images), images.shape[-1]
    moments = np.empty((count, 1 + channels, channels), dtype=np.int64)
    for start in range(0, count, CHUNK):
        pixels = images[start : start + CHUNK].reshape(-1, images[0].size // channels, channels)
        values = pixels.astype(np.float64)
        moments[start : start + CHUNK, 0] = values.sum(axis=1)
        moments[start : start + CHUNK, 1:] = values.transpose(0, 2, 1) @ values
    return moments


def colour_statistics(
    moments: NDArray[np.int64], pixels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, deviation and principal components of pictures of so many pixels, in [0, 1].

    The components are columns, times their eigenvalues.
    """
    total, *products = moments.sum(axis=0) / (len(moments) * pixels)
    mean = total / 255
    covariance = np.array(products) / 255**2 - np.outer(mean, mean)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    # An eigenvector's sign is arbitrary; the largest entry is made positive.
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(mean))]
    components = vectors * np.sign(largest) * np.clip(eigenvalues, 0, None)
    # A constant channel would divide by zero.
    deviation = np.sqrt(np.clip(np.diag(covariance), 1e-6, None))
    return mean, deviation, components
