from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from records import make_result, result, trial  # noqa: F401 - fixtures

from optuna_study.errors import DiskFullError, StaleClaimError, UnreachableError
from optuna_study.search.ledger import PatientLedger
from optuna_study.search.objective import Outcome, Rules, Started, Tools, run_trial
from optuna_study.search.pruner import never
from optuna_study.search.stop_signal import Brake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna_study.config.settings import EpochResult
    from optuna_study.store.records import End, EpochRecord


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
    brake: Brake
    epoch_seconds: float = 10.0
    save_seconds: float = 0.0
    stop_in_epoch: int = 0
    stop: Callable[[], None] = lambda: None
    save_error: Exception | None = None
    saved: list[int] = field(default_factory=list)
    epoch: int = 0

    def epochs(self) -> Iterator[EpochResult]:
        for each in self.results:
            if isinstance(each, BaseException):
                raise each
            self.clock.now += self.epoch_seconds
            if self.stop_in_epoch == each.epoch:
                self.stop()
            if self.brake.event.is_set():
                return
            self.epoch = each.epoch
            yield each

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
    given_back: str | None = None

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
        self._write(f"report {','.join(str(each.epoch) for each in epochs)}")
        self.epochs.update({each.epoch: each for each in epochs})
        return True

    def others_at(self, epoch: int) -> Sequence[float]:
        self._reach()
        return self.others.get(epoch, [])

    def checkpointed(self, epoch: int) -> None:
        self._write(f"checkpointed {epoch}")

    def give_back(self, reason: str) -> None:
        self._write("give back")
        self.given_back = reason

    def end(self, end: End, epochs: Sequence[EpochRecord]) -> None:
        self._write(f"end {','.join(str(each.epoch) for each in epochs)}")
        self.epochs.update({each.epoch: each for each in epochs})
        self.ended = end


@dataclass
class Bench:
    """A trial on the bench: fakes all around the objective."""

    clock: FakeClock = field(default_factory=FakeClock)
    brake: Brake = field(default_factory=Brake)
    ledger: FakeLedger = field(init=False)
    rules: Rules = field(
        default_factory=lambda: Rules("validation_accuracy", "maximize", 4, never, prunable=True)
    )
    published: list[End] = field(default_factory=list)
    publish_error: Exception | None = None
    start_error: BaseException | None = None

    def __post_init__(self) -> None:
        self.ledger = FakeLedger(self.clock)

    def training(self, *results: EpochResult | BaseException) -> FakeTraining:
        return FakeTraining(results, self.clock, self.brake)

    def run(self, training: FakeTraining, before: Sequence[EpochRecord] = ()) -> Outcome:
        def start() -> Started:
            if self.start_error is not None:
                raise self.start_error
            return Started(training, self.rules, before)

        def publish(_: object, end: End, records: Sequence[EpochRecord]) -> None:
            if self.publish_error is not None:
                raise self.publish_error
            assert self.ledger.ended is None
            self.published.append(end)

        ledger = PatientLedger(self.ledger, self.wait, self.clock)
        return run_trial(ledger, Tools(start, publish, self.clock), self.brake)

    def wait(self, seconds: float) -> bool:
        """Sleep by the fake clock, unless the worker leaves."""
        self.clock.now += seconds
        return self.brake.wait(0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def disk_full() -> Exception:
    return DiskFullError("checkpoints: no space left")
