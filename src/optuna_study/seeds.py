"""Every random stream's seed, derived from a study's seed, a trial's number and a purpose."""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, stream: str, epoch: int = 0) -> int:
    """The seed of a stream of random numbers, below 2**63; streams and epochs are independent."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def trial_seed(study_seed: int, number: int) -> int:
    """The seed of trial `number`, in [0, 2**31).

    A hash and not a sum, so that neighbouring study seeds share no trial seeds.

    >>> trial_seed(0, 0) == trial_seed(0, 0) != trial_seed(1, 0)
    True
    """
    digest = hashlib.sha256(f"{study_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def sampler_seed(study_seed: int, number: int) -> int:
    """The seed of a trial's sampler, in numpy's range of [0, 2**32)."""
    return derived("propose", study_seed, number) >> 32


def derived(purpose: str, study_seed: int, number: int) -> int:
    """64 bits that differ between purposes, studies and numbers."""
    text = f"{purpose}:{study_seed}:{number}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
