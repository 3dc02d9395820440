"""Every random stream's seed, a hash of what it is for; what is stored depends on each number.

A hash and not a sum, so that neighbouring seeds share no streams. The texts that are hashed and
the bits that are taken never change: a study's trials, draws and splits are repeated from them.
"""

from __future__ import annotations

import hashlib


def trial_seed(study_seed: int, number: int) -> int:
    """The seed of trial `number`, in [0, 2**31): its configuration is trained with it."""
    digest = hashlib.sha256(f"{study_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def confirmation_seed(study_seed: int, run: int) -> int:
    """The seed of the confirmation runs number `run` of a study, in [0, 2**31).

    The same for every trial that is confirmed, so that their runs are compared in pairs; no
    searched trial's.
    """
    return _hash(f"confirm:{study_seed}:{run}") >> 33


def stream_seed(seed: int, stream: str, epoch: int = 0) -> int:
    """The seed of a stream of random numbers in a training, below 2**63; epochs have their own."""
    return _hash(f"{seed}/{stream}/{epoch}") >> 1


def sampler_seed(study_seed: int, number: int) -> int:
    """The seed of the sampler that proposes trial `number`, in numpy's range of [0, 2**32)."""
    return _hash(f"propose:{study_seed}:{number}") >> 32


def second_seed(study_seed: int) -> int:
    """What stands for a study's seed when a sampler is asked a second time, below 2**63."""
    return _hash(f"again:{study_seed}") >> 1


def lattice_seed(study_seed: int) -> int:
    """The seed of the lattice that a study's evenly spread points are taken from, below 2**64."""
    return _hash(f"spread:{study_seed}:0")


def finetune_seed(study_seed: int) -> int:
    """The seed of the lattice that a study's second stage takes its settings from."""
    return _hash(f"finetune:{study_seed}:0")


def lattice_shift(seed: int, axis: int) -> float:
    """How far a lattice is shifted along an axis, in [0, 1]."""
    return _hash(f"shift:{seed}:{axis}") / 2**64


def _hash(text: str) -> int:
    """64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
