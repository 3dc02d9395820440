"""How often a trial writes: reports once a second, checkpoints for 5 % of the time, at most.

Nothing is kept of a trial's first second, which costs less to repeat than to keep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_SECONDS = 1.0  # without a checkpoint
REPORT_SECONDS = 1.0  # the live table is drawn twice a second; a flush costs a transaction
CHECKPOINT_SHARE = 0.05  # of training time


@dataclass
class WriteSchedule:
    """When the next report and the next checkpoint are due; `clock` gives seconds."""

    clock: Callable[[], float]
    _began: float = field(init=False)
    _reported: float = field(init=False)
    _saved: float | None = None
    _cost: float = 0.0  # seconds that the last checkpoint took

    def __post_init__(self) -> None:
        self._began = self._reported = self.clock()

    def report_due(self) -> bool:
        """Whether a report is due."""
        return self.clock() - self._reported >= REPORT_SECONDS

    def reported(self) -> None:
        """A report was just written."""
        self._reported = self.clock()

    def checkpoint_due(self) -> bool:
        """Whether a checkpoint that costs what the last did keeps its share; the first costs none.

        The first one of a claim resets the trial's strikes: a trial that gets that far each time
        is making progress, however often its worker dies.
        """
        if self._saved is None:
            return self.clock() - self._began >= FIRST_SECONDS
        return self._cost <= CHECKPOINT_SHARE * (self.clock() - self._saved)

    def saved(self, began: float) -> None:
        """A checkpoint begun at `began` was just written, or failed."""
        self._saved = self.clock()
        self._cost = self._saved - began
