"""A trial's seed: it follows from the study's seed and the trial's number alone."""

from __future__ import annotations

import hashlib


def trial_seed(study_seed: int, number: int) -> int:
    """The seed of trial `number`, in [0, 2**31).

    A hash and not a sum, so that neighbouring study seeds share no trial seeds.

    >>> trial_seed(0, 0) == trial_seed(0, 0) != trial_seed(1, 0)
    True
    """
    digest = hashlib.sha256(f"{study_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
