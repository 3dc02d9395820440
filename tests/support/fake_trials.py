"""A trial whose store, training and clock are fakes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from optuna_study.errors import DiskFullError, StaleClaimError, UnreachableError
from optuna_study.search.ledger import RetryingLedger
from optuna_study.search.objective import KnownEnd, Left, Rules, run_trial
from optuna_study.search.stop_signal import StopReason, StopSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna_study.config.epoch import EpochResult
    from optuna_study.search.objective import Training
    from optuna_study.store.records import Artifact, End, EpochRecord


@dataclass
class FakeClock:
    """Seconds that pass only when somebody works."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeTraining:
    """Yields given results; what stands among them as an exception is raised."""

    results: Sequence[EpochResult | BaseException]
    clock: FakeClock
    stop: StopSignal
    planned_epochs: int = 4
    before: Sequence[EpochRecord] = ()
    epoch_seconds: float = 10.0
    save_seconds: float = 0.0
    save_error: Exception | None = None
    saved: list[int] = field(default_factory=list)
    epoch: int = 0
    keep: Callable[[Sequence[float]], float] | None = None
    patience: int = 0
    _stop_in: tuple[int, StopReason, str] | None = None

    @property
    def finished(self) -> bool:
        waited = self.epoch - self.kept_epoch
        return self.epoch >= self.planned_epochs or 0 < self.patience <= waited

    @property
    def kept_epoch(self) -> int:
        if self.keep is None:
            return self.epoch
        done = [each for each in self.results[: self.epoch] if not isinstance(each, BaseException)]
        values = [each.validation_accuracy for each in done]
        return values.index(self.keep(values)) + 1

    def stop_in_epoch(self, epoch: int, reason: StopReason, text: str) -> None:
        """Be stopped from outside in the middle of an epoch."""
        self._stop_in = (epoch, reason, text)

    def epochs(self) -> Iterator[EpochResult]:
        for result in self.results:
            if isinstance(result, BaseException):
                raise result
            self.clock.now += self.epoch_seconds
            if self._stop_in is not None and self._stop_in[0] == result.epoch:
                self.stop.set(*self._stop_in[1:])
            if self.stop.event.is_set():
                return
            self.epoch = result.epoch
            yield result

    def measure(self, cost: str) -> float:
        return {"parameters": 1200.0, "prediction_seconds": 0.25}[cost]

    def save(self) -> None:
        self.clock.now += self.save_seconds
        if self.save_error is not None:
            raise self.save_error
        self.saved.append(self.epoch)


@dataclass
class FakeLedger:
    """A claimed trial in memory; `stale_after` writes it is somebody else's.

    Between the seconds of `away` it does not answer.
    """

    clock: FakeClock
    away: tuple[float, float] = (0.0, 0.0)
    refused: int = 0  # calls while it was away
    others: dict[int, list[float]] = field(default_factory=dict)
    stale_after: int = 10**9
    log: list[str] = field(default_factory=list)
    epochs: dict[int, EpochRecord] = field(default_factory=dict)
    ended: End | None = None
    requeued: str | None = None

    def _reach(self) -> None:
        if self.away[0] <= self.clock.now < self.away[1]:
            self.refused += 1
            raise UnreachableError("the store cannot be reached")

    def _write(self, what: str) -> None:
        self._reach()
        if len(self.log) >= self.stale_after:
            raise StaleClaimError("trial 7 is no longer this worker's")
        self.log.append(what)

    def report(self, epochs: Sequence[EpochRecord]) -> bool:
        self._write(f"report {','.join(str(record.epoch) for record in epochs)}")
        self.epochs.update({record.epoch: record for record in epochs})
        return True

    def others_at(self, epoch: int) -> Sequence[float]:
        self._reach()
        return self.others.get(epoch, [])

    def note_checkpoint(self, epoch: int) -> None:
        self._write(f"checkpointed {epoch}")

    def requeue(self, reason: str, *, retried: bool = False) -> None:
        self._write("retry" if retried else "requeue")
        self.requeued = reason

    def end(self, end: End, epochs: Sequence[EpochRecord]) -> None:
        self._write(f"end {','.join(str(record.epoch) for record in epochs)}")
        self.epochs.update({record.epoch: record for record in epochs})
        self.ended = end


@dataclass
class FakeJob:
    """A claimed trial: fakes all around `run_trial`, which claims nothing else."""

    clock: FakeClock = field(default_factory=FakeClock)
    stop: StopSignal = field(default_factory=StopSignal)
    store: FakeLedger = field(init=False)
    rules: Rules = field(default_factory=lambda: Rules("validation_accuracy", "maximize", None))
    number: int = 7
    device: str = "cpu"
    published: list[End] = field(default_factory=list)
    publish_error: Exception | None = None
    start_error: BaseException | None = None
    leaves_in_publish: bool = False
    leaves_in_wait: bool = False
    epochs: int = 4
    cleaned_up: bool = False
    _training: FakeTraining | KnownEnd | None = None

    def __post_init__(self) -> None:
        self.store = FakeLedger(self.clock)

    @property
    def end(self) -> End:
        """How it ended."""
        assert self.store.ended is not None
        return self.store.ended

    @property
    def traceback(self) -> str:
        """Of the error that it ended for."""
        assert self.end.traceback is not None
        return self.end.traceback

    @property
    def ledger(self) -> RetryingLedger:
        return self._ledger

    @contextmanager
    def keep_lease(self) -> Iterator[None]:
        yield

    def propose(self) -> FakeTraining | KnownEnd:
        if self.start_error is not None:
            raise self.start_error
        assert self._training is not None
        return self._training

    def publish(self, _: Training, end: End, epochs: Sequence[EpochRecord]) -> Sequence[Artifact]:
        if self.publish_error is not None:
            raise self.publish_error
        assert self.store.ended is None
        self.published.append(end)
        if self.leaves_in_publish:
            self.stop.set(StopReason.LEAVING, "stopped by SIGTERM")
        return ()

    def clean_up(self) -> None:
        assert self.store.ended is not None
        self.cleaned_up = True

    def training(self, *results: EpochResult | BaseException) -> FakeTraining:
        """A training run for `run`."""
        return FakeTraining(results, self.clock, self.stop, self.epochs)

    def run(self, training: FakeTraining | KnownEnd) -> Left:
        """Work on it, with the fake clock."""
        self._training = training
        self._ledger = RetryingLedger(self.store, self.wait, self.clock)
        left = run_trial(lambda: self, self.stop, self.clock)
        assert isinstance(left, Left)
        assert self.cleaned_up is (left is Left.ENDED)
        return left

    def wait(self, seconds: float) -> bool:
        """Sleep by the fake clock, unless the worker leaves."""
        if not self.leaves_in_wait:
            self.clock.now += seconds
        return self.leaves_in_wait or self.stop.wait(0)


@pytest.fixture
def job() -> FakeJob:
    return FakeJob()


@pytest.fixture
def disk_full() -> Exception:
    return DiskFullError("checkpoints: no space left")
