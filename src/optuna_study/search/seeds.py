"""The random streams of proposing, derived from the study's seed and a trial's number alone.

Nothing here depends on which worker asks, when, or how often, so a resumed study never replays a
stream and two workers never share one. The seed of a trial's training comes with its claim.
"""

from __future__ import annotations

import hashlib


def sampler_seed(study_seed: int, number: int) -> int:
    """The seed of a trial's sampler, in numpy's range of [0, 2**32)."""
    return derived("propose", study_seed, number) >> 32


def derived(purpose: str, study_seed: int, number: int) -> int:
    """64 bits that differ between purposes, studies and numbers."""
    text = f"{purpose}:{study_seed}:{number}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
