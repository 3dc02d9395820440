"""A worker around the real service, from the claim to the end, whose training is no torch's.

Claim, lease, heartbeat, proposal, objective, reports, prune decisions and ends are those of
`optuna_study`; a worker with torch takes 3 s and 700 MB to start, this one a fork.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from optuna_study.definition.serialise import from_json
from optuna_study.search.ledger import RetryingLedger, StoreLedger
from optuna_study.search.objective import Left, Rules, run_trial
from optuna_study.search.propose import propose
from optuna_study.search.pruner import decide
from optuna_study.search.stop_signal import StopSignal
from optuna_study.store.engine import optuna_bridge
from optuna_study.store.engine.clock import Jumps, LeaseClock
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, NoTrialReason
from optuna_study.store.studies.studies import load_study
from optuna_study.worker.heartbeat import keep_lease

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from optuna_study.config.epoch import EpochResult
    from optuna_study.config.settings import TrainConfig
    from optuna_study.search.objective import Training
    from optuna_study.search.pruner import Decide
    from optuna_study.store.records import Artifact, End, EpochRecord, StudyRecord

WAIT = 0.2  # seconds between two looks at a budget that is all taken


class Epochs(Protocol):
    """Training that is no torch's."""

    def epochs(self) -> Iterator[EpochResult]: ...

    def save(self) -> None: ...


class Begin(Protocol):
    """Makes a trial's training, and says after how many epochs it resumes."""

    def __call__(
        self, config: TrainConfig, claim: Claim, stop: threading.Event
    ) -> tuple[Epochs, int]: ...


@dataclass
class Begun:
    """A trial's training, and the curve before it."""

    training: Epochs
    planned_epochs: int
    before: Sequence[EpochRecord]
    kept_epoch: int = 0

    @property
    def finished(self) -> bool:
        return self.kept_epoch >= self.planned_epochs

    def epochs(self) -> Iterator[EpochResult]:
        for result in self.training.epochs():
            self.kept_epoch = result.epoch
            yield result

    def save(self) -> None:
        self.training.save()

    def measure(self, cost: str) -> float:
        raise AssertionError(f"nobody asks for {cost}: the study has one objective")


@dataclass
class Desk:
    """A worker's place: the open store, a study, and how its trials train and are judged."""

    url: str
    name: str
    begin: Begin
    lease: float = 60.0
    decide: Decide = decide
    wall: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.store = replace(open_store(self.url), lease_clock=LeaseClock(wall=self.wall))
        self.jumps = Jumps(self.wall)
        self.study: StudyRecord = load_study(self.store, self.name)
        self.definition = from_json(self.study.definition)
        self.storage = optuna_storage(self.store)
        optuna_bridge.read_trials(self.store, self.storage, self.study)
        self.owner = f"bare-{os.getpid()}"
        self.stop = StopSignal()

    def work(self, until: Callable[[], bool] = lambda: False) -> int:
        """Work on trials until there are none, or `until` says so; how many were ended here."""
        ended = 0
        while not until():
            left = run_trial(self.claim, self.stop)
            if left is NoTrialReason.BUDGET_TAKEN:
                time.sleep(WAIT)
            elif isinstance(left, Left):
                ended += left is Left.ENDED
            else:
                break
        self.store.close()
        return ended

    def claim(self) -> BareJob | NoTrialReason:
        claim = queue.claim(self.store, self.study, self.owner, lease=self.lease)
        return BareJob(self, claim) if isinstance(claim, Claim) else claim


class BareJob:
    """A claimed trial, as `run_trial` sees it."""

    device = "nothing"

    def __init__(self, desk: Desk, claim: Claim) -> None:
        search = desk.definition.search
        self.desk, self.claim = desk, claim
        self.number = claim.number
        self.rules = Rules(
            search.metric, search.direction, desk.decide if claim.searched else None
        )
        ledger = StoreLedger(desk.store, desk.study, claim)
        self.ledger = RetryingLedger(ledger, desk.stop.wait, time.monotonic)

    def keep_lease(self) -> AbstractContextManager[None]:
        renew = partial(queue.renew, self.desk.store, self.claim, self.desk.lease)
        return keep_lease(renew, self.desk.stop, self.desk.lease, jumps=self.desk.jumps)

    def propose(self) -> Begun:
        desk, claim = self.desk, self.claim
        config = propose(desk.store, desk.storage, desk.study, desk.definition, claim).config
        training, after = desk.begin(config, claim, desk.stop.event)
        if claim.resumed:
            queue.rewind(desk.store, claim, after)
        reported = reads.epochs(desk.store, desk.study, claim.number) if after else ()
        before = tuple(record for record in reported if record.epoch <= after)
        return Begun(training, config.train.epochs, before)

    def publish(
        self, training: Training, end: End, epochs: Sequence[EpochRecord]
    ) -> Sequence[Artifact]:
        """No artifacts."""
        return ()

    def clean_up(self) -> None:
        """Nothing to clean up."""
