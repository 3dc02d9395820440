"""A worker around the real service, from the claim to the end, whose training is no torch's.

Claim, lease, heartbeat, proposal, objective, reports, prune decisions and ends are those of
`optuna_study`; a worker with torch takes 3 s and 700 MB to start, this one a fork.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from optuna_study.definition.serialise import from_json
from optuna_study.search.ledger import PatientLedger, StoreLedger
from optuna_study.search.objective import Left, Rules, Started, Tools, run_trial
from optuna_study.search.propose import propose
from optuna_study.search.pruner import decide
from optuna_study.search.stop_signal import Brake
from optuna_study.store.engine import optuna_bridge
from optuna_study.store.engine.clock import Jumps, LeaseClock
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import NoTrialReason
from optuna_study.store.studies.studies import load_study
from optuna_study.worker.heartbeat import beating

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from optuna_study.config.settings import TrainConfig
    from optuna_study.search.objective import Training
    from optuna_study.search.pruner import Decide
    from optuna_study.store.records import Claim, EpochRecord, StudyRecord

WAIT = 0.05  # seconds between two looks at a budget that is all taken


class Begin(Protocol):
    """Makes a trial's training, and says after how many epochs it goes on."""

    def __call__(
        self, config: TrainConfig, claim: Claim, stop: threading.Event
    ) -> tuple[Training, int]: ...


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

    def work(self, until: Callable[[], bool] = lambda: False) -> int:
        """Work on trials until there are none, or `until` says so; how many were ended here."""
        ended = 0
        while not until():
            claimed = queue.claim(self.store, self.study, self.owner, lease=self.lease)
            if claimed is NoTrialReason.BUDGET_TAKEN:
                time.sleep(WAIT)
            elif isinstance(claimed, NoTrialReason):
                break
            else:
                ended += self._work_on(claimed)
        self.store.close()
        return ended

    def _work_on(self, claim: Claim) -> bool:
        brake = Brake()

        def start() -> Started:
            config = propose(self.store, self.storage, self.study, self.definition, claim)
            training, after = self.begin(config, claim, brake.event)
            if claim.resumed:
                queue.rewind(self.store, claim, after)
            rules = Rules(
                metric=self.definition.search.metric,
                direction=self.definition.search.direction,
                epochs=config.train.epochs,
                decide=self.decide,
                prunable=True,
            )
            return Started(training, rules, self._reported(claim, after))

        with beating(
            lambda: queue.renew(self.store, claim, self.lease),
            brake,
            self.lease,
            jumps=self.jumps,
        ):
            tools = Tools(start, _nothing)
            ledger = PatientLedger(
                StoreLedger(self.store, self.study, claim), brake.wait, tools.clock
            )
            return run_trial(ledger, tools, brake).left is Left.ENDED

    def _reported(self, claim: Claim, after: int) -> Sequence[EpochRecord]:
        """The epochs before the one a returned trial goes on with."""
        if not after:
            return ()
        reported = reads.epochs(self.store, self.study, claim.number)
        return tuple(record for record in reported if record.epoch <= after)


def _nothing(training: object, end: object, records: object) -> None:
    """No artifacts."""
