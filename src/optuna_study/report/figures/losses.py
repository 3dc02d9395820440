"""A run's loss by step, which a worker leaves of baselines and of the best few trials.

A file of NumPy arrays without pickled objects: `points` (N, 3), the mean, least and greatest loss
of `steps` steps each, after the first `before` ones, of which nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.report.figures.predictions import (
    array_of,
    arrays_from_bytes,
    arrays_to_bytes,
    find_artifact,
    require,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store

FILE = "losses.npz"
MOST_POINTS = 1 << 16


@dataclass(frozen=True)
class Losses:
    """Losses by step; `points` is of shape (N, 3)."""

    steps: int
    before: int
    points: NDArray[np.float32]

    def drawn(self, most: int) -> tuple[list[float], NDArray[np.float64]]:
        """At most so many points: the steps in their middles, and mean, least and greatest."""
        import numpy as np

        together = -(-len(self.points) // most)
        starts = range(0, len(self.points), together)
        few = [self.points[start : start + together] for start in starts]
        middles = [
            self.before + self.steps * (start + len(each) / 2) + 0.5
            for start, each in zip(starts, few, strict=True)
        ]
        rows = [(p[:, 0].mean(dtype=float), p[:, 1].min(), p[:, 2].max()) for p in few]
        return middles, np.array(rows, dtype=np.float64)


def to_bytes(losses: Losses) -> bytes:
    """The file of a run's losses."""
    import numpy as np

    return arrays_to_bytes(
        {
            "points": losses.points.astype(np.float32),
            "steps": np.array([losses.steps]),
            "before": np.array([losses.before]),
        }
    )


def from_bytes(content: bytes) -> Losses:
    """What `to_bytes` wrote.

    Raises:
        ValueError: it is none of its files.
    """
    arrays = arrays_from_bytes(content)
    points = array_of(arrays, "points", "f", 2)
    require("points", points.shape[1] == 3 and 0 < len(points) <= MOST_POINTS)
    steps, before = (int(array_of(arrays, name, "iu", 1, 1)[0]) for name in ("steps", "before"))
    require("steps", steps >= 1 and before >= 0)
    return Losses(steps, before, points)


def find_losses(store: Store, workspace: Workspace, trial_id: int) -> Losses | None:
    """The losses that a trial left; None where it left none, or they lie elsewhere.

    Raises:
        StoreError: the store fails.
    """
    return find_artifact(store, workspace, trial_id, FILE, from_bytes)
