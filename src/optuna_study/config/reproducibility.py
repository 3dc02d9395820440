"""What two runs must share to be equal to the last bit; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LAST_BITS = (
    *("torch", "device", "threads", "instruction_set", "processor", "weights"),
    *("cudnn", "cudnn_benchmark", "cuda_graphs"),
)
"""The keys of a record of where something ran that the last bits of a curve depend on."""

ADDED = ("frozen_norms",)
"""Those that records of earlier versions lack, which then ran in another way."""


def differing(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, ...]:
    """What of a recorded environment is different here, a sentence each."""
    return tuple(
        f"{key} was {recorded[key]}, is {here.get(key)}"
        for key in LAST_BITS
        if key in recorded and recorded[key] != here.get(key)
    ) + tuple(
        f"{key} was {recorded.get(key, 'not recorded')}, is {here[key]}"
        for key in ADDED
        if key in here and recorded.get(key) != here[key]
    )
