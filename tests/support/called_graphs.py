"""Stands in for a GPU's graphs where there is none: to replay is to call again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.training.optimizers import rates_on_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch


class CalledGraphs:
    """As `device.CudaGraphs`, on any device; counts what it is asked for.

    As in a graph, the optimizer takes its rates from the step's own tensors at every replay.
    """

    def __init__(self) -> None:
        self.warmed_up = self.captured = self.replayed = 0

    def warm_up(self, call: Callable[[], None], times: int) -> None:
        for _ in range(times):
            call()
        self.warmed_up += times

    def capture(
        self, call: Callable[[], None], generators: Sequence[torch.Generator]
    ) -> Callable[[], None]:
        assert generators
        self.captured += 1
        step: Any = call.__self__  # type: ignore[attr-defined]

        def replay() -> None:
            self.replayed += 1
            with rates_on_device(step.parts.optimizer, step.rates):
                self.replay_of(call, step)

        replay()  # a capture runs the code, but computes nothing: all it changes is put back
        return replay

    def replay_of(self, call: Callable[[], None], step: Any) -> None:
        """What a replay does; a broken graph does something else."""
        call()
