"""The loss of every step of a run, in little room: of long runs, of a few steps together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Point: TypeAlias = tuple[float, float, float]
"""Mean, least and greatest loss of some steps."""

MOST = 2048
"""Points at which two become one: more than a screen has room for, 48 KB of a checkpoint."""


@dataclass
class StepLosses:
    """The losses of a run's steps, `steps` of them a point; twice as many when room runs out.

    `before` are the steps before the first point, of which nothing is known; `rest` are the last
    losses, too few for a point.
    """

    steps: int = 1
    before: int = 0
    points: list[Point] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)

    def add(self, losses: Sequence[float]) -> None:
        """Take in the losses of further steps."""
        for loss in losses:
            self.rest.append(loss)
            if len(self.rest) == self.steps:
                self.points.append((sum(self.rest) / self.steps, min(self.rest), max(self.rest)))
                self.rest.clear()
                if len(self.points) == MOST:
                    self._halve()

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to hold."""
        return {
            "steps": self.steps,
            "before": self.before,
            "points": torch.tensor(self.points, dtype=torch.float64).view(-1, 3),
            "rest": torch.tensor(self.rest, dtype=torch.float64),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> StepLosses:
        """The losses that a state holds.

        Raises:
            ValueError: it holds none.
        """
        names = ("steps", "before", "points", "rest")
        steps, before, points, rest = (state.get(name) for name in names)
        if not (isinstance(steps, int) and isinstance(before, int) and steps >= 1):
            raise ValueError("no losses by step: their counts cannot be")
        if not (isinstance(points, torch.Tensor) and isinstance(rest, torch.Tensor)):
            raise ValueError("no losses by step: they are no tensors")
        few = len(points) < MOST and len(rest) < steps
        if not (few and points.ndim == 2 and points.shape[1] == 3 and rest.ndim == 1):
            raise ValueError("no losses by step: their number cannot be")
        return cls(steps, before, [_triple(row) for row in points.tolist()], rest.tolist())

    def _halve(self) -> None:
        """Two points become one, of twice as many steps."""
        pairs = zip(self.points[::2], self.points[1::2], strict=True)
        self.points = [
            ((one[0] + two[0]) / 2, min(one[1], two[1]), max(one[2], two[2])) for one, two in pairs
        ]
        self.steps *= 2


def _triple(row: Sequence[float]) -> Point:
    mean, low, high = row
    return mean, low, high
