"""Grey pictures of more than 8 bits: one range of values for a whole data set.

A range is what becomes black and what becomes white. It is of percentiles, so that a hot pixel
does not move it, and of finite values alone; numbers with a fraction that lie from 0 to 1 are
taken as they are. Zero stays black where values begin near it, so that a dark exposure stays as
many times darker than a bright one as it was taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from optuna_study.text import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    GreyRanges: TypeAlias = Mapping[str, tuple[float, float]]
    """The range of each kind of values that a data set has: `whole` numbers and `fraction`s."""

DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
"""Pillow's modes of more than 8 bits a pixel, all of them grey."""

OUTLIERS = 0.001
"""Part of the values at each end that may lie outside the range."""

NEAR_ZERO = 0.1
"""Part of the upper end below which the lower end is taken as zero."""

FEW_LEVELS = 16
SAMPLED = 4_000_000
"""Values that a range is found from at most, over all files; of each at least LEAST_SAMPLED."""

LEAST_SAMPLED, MOST_SAMPLED = 256, 65_536


def kind_of(image: Image.Image) -> str | None:
    """Which kind of values a deep picture has; None of one with 8 bits."""
    if image.mode not in DEEP_MODES:
        return None
    return "fraction" if image.mode == "F" else "whole"


def sample(image: Image.Image, files: int) -> NDArray[np.float64]:
    """Some finite values of a deep picture, one of so many files, evenly taken."""
    values = np.asarray(image).astype(np.float64).ravel()
    most = min(max(SAMPLED // max(files, 1), LEAST_SAMPLED), MOST_SAMPLED)
    taken = values[:: -(-len(values) // most)]
    return taken[np.isfinite(taken)]


def find_ranges(samples: Sequence[tuple[str, NDArray[np.float64]]]) -> GreyRanges:
    """The range of each kind of values, from samples of all deep pictures of a data set."""
    ranges = {}
    for kind in sorted({kind for kind, _ in samples}):
        values = np.concatenate([values for each, values in samples if each == kind])
        ranges[kind] = _find_range(values, kind) if len(values) else (0.0, 1.0)
    return ranges


def _find_range(values: NDArray[np.float64], kind: str) -> tuple[float, float]:
    low, high = (float(each) for each in np.quantile(values, [OUTLIERS, 1 - OUTLIERS]))
    if kind == "fraction" and low >= 0 and high <= 1:
        return 0.0, 1.0
    if 0 <= low <= NEAR_ZERO * high:
        low = 0.0
    if kind == "whole":
        low, high = float(np.floor(low)), float(np.ceil(high))
    return low, high if high > low else low + 1


def scale_to_bytes(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Values as bytes: `low` and less is black, `high` and more white; what is no number, too."""
    finite = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return np.clip(np.rint((finite - low) / (high - low) * 255), 0, 255).astype(np.uint8)


def to_bytes(image: Image.Image, ranges: GreyRanges | None) -> tuple[Image.Image, str | None]:
    """A deep picture with 8 bits by the range of its data set, and what is odd about its values.

    Without a range, as where a model was made from other pictures, it is that of 16 bits, and of
    numbers with a fraction the picture's own.
    """
    values = np.asarray(image).astype(np.float64)
    kind = str(kind_of(image))
    if ranges is not None and kind in ranges:
        low, high = ranges[kind]
        odd = "; ".join(_odd_values(values, low, high)) or None
        return Image.fromarray(scale_to_bytes(values, low, high)), odd
    finite = values[np.isfinite(values)]
    low, high = 0.0, 65535.0
    if kind == "fraction":
        low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    scaled = scale_to_bytes(values, low, max(high, low + 1e-12))
    return Image.fromarray(scaled), "more than 8 bits a pixel, scaled down to 8"


def _odd_values(values: NDArray[np.float64], low: float, high: float) -> Iterator[str]:
    """What a picture's values hold that its data set's do not."""
    for what, odd in (("not a number", np.isnan(values)), ("infinite", np.isinf(values))):
        if odd.any():
            yield f"{count(int(odd.sum()), 'pixel')} {what}"
    finite = values[np.isfinite(values)]
    far = finite[(finite < 2 * low - high) | (finite > 2 * high - low)]
    if len(far):
        farthest = far[np.abs(far - low).argmax()]
        yield f"{count(len(far), 'pixel')} far out of range ({farthest:g})"


def few_levels(samples: Sequence[tuple[str, NDArray[np.float64]]], ranges: GreyRanges) -> int:
    """How many of the 256 levels of grey deep pictures come to, as far as they were sampled."""
    levels = np.zeros(256, dtype=bool)
    for kind, values in samples:
        levels[scale_to_bytes(values, *ranges[kind])] = True
    return int(levels.sum())
