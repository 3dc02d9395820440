"""What two runs must share to be equal to the last bit; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LAST_BITS = (
    *("torch", "device", "threads", "instruction_set", "processor", "weights"),
    *("cudnn", "cudnn_benchmark"),
)
"""The keys of a record of where something ran that the last bits of a curve depend on."""

ADDED = {"frozen_norms": None, "cuda_graphs": False}
"""Those that records of earlier versions lack, and what these then were."""

STEPS = "steps"
"""The key of how a run's steps were taken, where there was a choice."""

GRAPH = "CUDA graph"
"""What stands there of replayed steps; of called ones, the reason."""


def differing(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, ...]:
    """What of a recorded environment is different here, a sentence each."""
    return (
        tuple(
            f"{key} was {recorded[key]}, is {here.get(key)}"
            for key in LAST_BITS
            if key in recorded and recorded[key] != here.get(key)
        )
        + tuple(
            f"{key} was {recorded.get(key, 'not recorded')}, is {here[key]}"
            for key, usual in ADDED.items()
            if key in here and recorded.get(key, usual) != here[key]
        )
        + _steps_differing(recorded, here)
    )


def _steps_differing(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether one replays its steps and the other calls them; where one does not say, it may."""
    if STEPS not in recorded or STEPS not in here:
        return ()
    if (recorded[STEPS] == GRAPH) is (here[STEPS] == GRAPH):
        return ()
    return (f"{STEPS} was {recorded[STEPS]}, is {here[STEPS]}",)
