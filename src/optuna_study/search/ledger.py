"""A claimed trial in the real store, as the objective sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.store import queue, reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.store.open import Store
    from optuna_study.store.records import Claim, End, EpochRecord, StudyRecord


@dataclass(frozen=True)
class StoreLedger:
    """Every write carries the claim's token and raises StaleClaimError once it is stale."""

    store: Store
    study: StudyRecord
    claim: Claim

    def report(self, epochs: Sequence[EpochRecord]) -> bool:
        """Write epochs; one written before is replaced."""
        queue.report(self.store, self.claim, epochs)
        return True

    def others_at(self, epoch: int) -> Sequence[float]:
        """The metric of the study's other trials at an epoch."""
        return reads.values_at(self.store, self.study, epoch, but=self.claim.number)

    def checkpointed(self, epoch: int) -> None:
        """Note that a checkpoint of this epoch is on disk."""
        queue.checkpointed(self.store, self.claim, epoch)

    def give_back(self, reason: str) -> None:
        """Let another worker go on with the trial."""
        queue.give_back(self.store, self.claim, reason)

    def end(self, end: End, epochs: Sequence[EpochRecord]) -> None:
        """End the trial, with its last epochs, in one transaction."""
        queue.end(self.store, self.claim, end, epochs)
