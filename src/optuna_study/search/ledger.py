"""A claimed trial in the real store, as `run_trial` sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from optuna_study.errors import UnreachableError
from optuna_study.store.engine.retry import Backoff, retry_until_done
from optuna_study.store.queue import queue
from optuna_study.store.reads import aggregates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna_study.search.objective import Ledger
    from optuna_study.store.engine.connection import Store
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
        return aggregates.values_at(self.store, self.study, epoch, but=self.claim.number)

    def note_checkpoint(self, epoch: int) -> None:
        """Note that a checkpoint of this epoch is on disk."""
        queue.record_checkpoint(self.store, self.claim, epoch)

    def requeue(self, reason: str, *, retried: bool = False) -> None:
        """Let another worker resume the trial."""
        queue.release(self.store, self.claim, reason, retried=retried)

    def end(self, end: End, epochs: Sequence[EpochRecord]) -> None:
        """End the trial, with its last epochs, in one transaction."""
        queue.end(self.store, self.claim, end, epochs)


@dataclass
class RetryingLedger:
    """Passes on to another ledger, and bears that its store does not answer.

    In the middle of training nothing waits for the store: it is tried now and then. Only the end
    of the trial, which must not be lost, waits; `wait` sleeps and says whether to give up.
    """

    ledger: Ledger
    wait: Callable[[float], bool]
    clock: Callable[[], float]
    _backoff: Backoff = field(init=False)
    _unmarked: int | None = field(default=None, init=False)  # epoch of a checkpoint to be noted

    def __post_init__(self) -> None:
        self._backoff = Backoff(self.clock)

    def report(self, epochs: Sequence[EpochRecord]) -> bool:
        """Write epochs; False when the store is away: they are to be sent again."""

        def send() -> None:
            self.ledger.report(epochs)
            if self._unmarked is not None:
                self.ledger.note_checkpoint(self._unmarked)
                self._unmarked = None

        return self._try(send)

    def others_at(self, epoch: int) -> Sequence[float]:
        """The others' metric at an epoch; none when the store is away, so nothing is decided."""
        found: list[float] = []
        self._try(lambda: found.extend(self.ledger.others_at(epoch)))
        return found

    def note_checkpoint(self, epoch: int) -> None:
        """Note a checkpoint, with the next report if the store is away."""
        if not self._try(lambda: self.ledger.note_checkpoint(epoch)):
            self._unmarked = epoch

    def requeue(self, reason: str, *, retried: bool = False) -> None:
        """Let another worker resume the trial."""
        call = partial(self.ledger.requeue, reason, retried=retried)
        retry_until_done(call, self.wait, clock=self.clock)

    def end(self, end: End, epochs: Sequence[EpochRecord]) -> None:
        """End the trial, however long the store takes to come back."""
        retry_until_done(lambda: self.ledger.end(end, epochs), self.wait, clock=self.clock)

    def _try(self, call: Callable[[], None]) -> bool:
        """Call unless the last failure was a moment ago; whether it succeeded."""
        if not self._backoff.due:
            return False
        try:
            call()
        except UnreachableError:
            self._backoff.record_failure()
            return False
        self._backoff.record_success()
        return True
