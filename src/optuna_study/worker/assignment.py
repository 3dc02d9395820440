"""What a worker has at hand: the store, its device, and the studies that it has opened.

A place is made ready, its pictures loaded and its definition checked, before a trial is claimed
for it: nobody holds a trial that cannot begin.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import optuna

from optuna_study.errors import (
    FolderError,
    NotFoundError,
    OtherVersionError,
    UsageError,
)
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.engine.retry import retry_until_done
from optuna_study.store.queue import queue, scheduling
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, NoTrialReason
from optuna_study.store.studies import studies
from optuna_study.training.device import pick_device, use_threads
from optuna_study.worker.open_study import Site, open_site
from optuna_study.worker.study_log import _StudyLog
from optuna_study.worker.upkeep import bring_up_to_date
from optuna_study.worker.versions import (
    differences,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    import torch
    from optuna.storages import BaseStorage

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord
    from optuna_study.worker.messages import Order

    Wait: TypeAlias = Callable[[float], bool]

log = logging.getLogger(__name__)

MOST_OPEN = 2  # studies whose pictures a worker keeps: on a GPU each takes memory of its own
NOTE_SECONDS = 15.0  # between two notes on a study
LOOK_AGAIN = 60.0  # seconds until a study is tried again that could not be worked on here
OVER = (NoTrialReason.BUDGET_MET, NoTrialReason.STOPPING, NoTrialReason.PAUSED)


class Bench:
    """Hands out the next trial with a place to run it: of one study, or of a store by turns."""

    def __init__(
        self,
        store: Store,
        storage: BaseStorage,
        device: torch.device,
        order: Order,
        tell: Callable[[str], None],
    ) -> None:
        self.store = store
        self._storage = storage
        self._device = device
        self._order = order
        self._tell = tell
        self._only = None if order.study is None else require_study(store, order.study)
        self._open: OrderedDict[str, Site] = OrderedDict()  # by UUID, the last used at the end
        self._noted: dict[str, float] = {}  # when a study's note was last brought up to date
        self._met: dict[str, int] = {}  # budgets seen to be met
        self._unusable: dict[str, float] = {}  # when a study was found not to be workable here
        self._log = _StudyLog(order.name)

    def close(self) -> None:
        """Let go of everything."""
        self._log.close()
        self.store.close()

    def claim(self, lease: float, wait: Wait) -> tuple[Site, Claim] | NoTrialReason:
        """The next trial and its place, or why there is none.

        `wait` sleeps while the store is away, and says whether to give up.

        Raises:
            OptunaStudyError: the only study asked for cannot be worked on here.
            StoreError: the store fails.
        """
        if self._only is not None:
            return self._claim_of(self._only, lease, wait)
        scheduling.reap_all(self.store)  # a claim looks at its own study alone
        refusals = set()
        for study in scheduling.active_studies(self.store):
            found = self._claim_if_usable(study, lease, wait)
            if not isinstance(found, NoTrialReason):
                return found
            refusals.add(found)
        for reason in (NoTrialReason.BUDGET_TAKEN, NoTrialReason.NOT_HERE):
            if reason in refusals:
                return reason
        return NoTrialReason.NOTHING_LEFT

    def finished(self, site: Site, wait: Wait) -> None:
        """A trial of this place is over: renew what its study shows, now and then."""
        uuid = site.study.uuid
        if time.monotonic() - self._noted.get(uuid, 0.0) > NOTE_SECONDS:
            bring_up_to_date(site, wait)
            self._noted[uuid] = time.monotonic()

    def _claim_if_usable(
        self, study: StudyRecord, lease: float, wait: Wait
    ) -> tuple[Site, Claim] | NoTrialReason:
        """As `_claim_of`, for one of several studies: one that cannot be worked on is left out."""
        if self._met.get(study.uuid) == study.budget:
            return NoTrialReason.BUDGET_MET
        if time.monotonic() - self._unusable.get(study.uuid, -math.inf) < LOOK_AGAIN:
            return NoTrialReason.NOT_HERE
        if study.uuid not in self._open and (refusal := self._without_opening(study)):
            return refusal
        try:
            return self._claim_of(study, lease, wait)
        except FolderError:  # this worker's own, whatever the study
            raise
        except (UsageError, OtherVersionError) as error:
            self._unusable[study.uuid] = time.monotonic()
            self._tell(str(error))
            return NoTrialReason.NOT_HERE

    def _without_opening(self, study: StudyRecord) -> NoTrialReason | None:
        """Why a study is not worth loading its pictures, if so."""
        try:
            queue.reap(self.store, study)
        except NotFoundError:
            return NoTrialReason.DELETED
        counts = reads.counts(self.store, study)
        if counts.ended >= study.budget:
            self._met[study.uuid] = study.budget
            return NoTrialReason.BUDGET_MET
        taken = counts.ended + counts.running >= study.budget
        return NoTrialReason.BUDGET_TAKEN if taken else None

    def _claim_of(
        self, study: StudyRecord, lease: float, wait: Wait
    ) -> tuple[Site, Claim] | NoTrialReason:
        try:
            site = self._site(study)
            token = queue.new_token()  # finds the claim again whose answer was lost
            owner = self._order.name
            claimed = retry_until_done(
                lambda: queue.claim(self.store, study, owner, lease=lease, token=token), wait
            )
        except NotFoundError:
            self._open.pop(study.uuid, None)
            return NoTrialReason.DELETED
        if isinstance(claimed, Claim):
            self._log.begin(site, claimed.number)
            use_threads(site.definition.config.train.threads)
            return site, claimed
        if claimed is NoTrialReason.BUDGET_MET:
            self._met[study.uuid] = study.budget
        if claimed in OVER and study.uuid in self._noted:
            del self._noted[study.uuid]
            bring_up_to_date(site, wait, last=True)
        return claimed

    def _site(self, study: StudyRecord) -> Site:
        if study.uuid not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)
            self._open[study.uuid] = open_site(
                self.store, self._storage, study, self._device, self._order
            )
            self._noted[study.uuid] = time.monotonic()
            self._log.turn_to(self._open[study.uuid])
            self._say_differences(self._open[study.uuid])
        self._open.move_to_end(study.uuid)
        return self._open[study.uuid]

    def _say_differences(self, site: Site) -> None:
        log.info("joins %s on %s", site.study.name, site.device)
        for sentence in differences(site.study, site.environment):
            log.warning("differs from where the study was made: %s", sentence)


def open_bench(order: Order, tell: Callable[[str], None]) -> Bench:
    """Open the store and the device of an order; `tell` hears a sentence for people.

    Raises:
        NotFoundError: no such study.
        DeviceError: no such device.
        StoreError: the store cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    device = pick_device(order.device)
    store = open_store(order.address)
    try:
        return Bench(store, optuna_storage(store), device, order, tell)
    except BaseException:
        store.close()
        raise


def require_study(store: Store, name: str) -> StudyRecord:
    """The study with exactly this name.

    Raises:
        NotFoundError: there is none.
    """
    study = studies.find_study(store, name)
    if study is None:
        raise NotFoundError(f"no study '{name}' in {store.address}; was it deleted?")
    return study
