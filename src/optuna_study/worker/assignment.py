"""Where a worker's trials come from: of one study, or of a store's studies by turns.

A study is opened, its pictures loaded and its definition checked, before a trial of it is claimed:
nobody holds a trial that cannot begin.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import optuna

from optuna_study.config.training_errors import is_gpu_lost
from optuna_study.errors import (
    DeviceLostError,
    FolderError,
    NotFoundError,
    OtherVersionError,
    UnreachableError,
    UsageError,
)
from optuna_study.paths import writing
from optuna_study.store.engine.clock import Jumps
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.engine.retry import retry_until_done
from optuna_study.store.queue import queue, scheduling
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, NoTrialReason, StudyRecord
from optuna_study.store.studies import studies
from optuna_study.training.device import (
    GRAPHS_VARIABLE,
    pick_device,
    release_memory,
    use_device,
    use_threads,
)
from optuna_study.training.steps import kept
from optuna_study.worker.messages import Message, MessageKind, WorkerTask
from optuna_study.worker.open_study import OpenStudy, open_study
from optuna_study.worker.trial import TrialJob
from optuna_study.worker.upkeep import bring_up_to_date, tidy
from optuna_study.worker.versions import differences

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    import torch
    from optuna.storages import BaseStorage

    from optuna_study.search.stop_signal import StopSignal
    from optuna_study.store.engine.connection import Store

log = logging.getLogger(__name__)

MOST_OPEN = 2  # studies whose pictures a worker keeps: on a GPU each takes memory of its own
NOTE_SECONDS = 15.0  # between two notes on a study
LOOK_AGAIN = 60.0  # seconds until a study is tried again that could not be worked on here
OVER = (NoTrialReason.BUDGET_MET, NoTrialReason.STOPPING, NoTrialReason.PAUSED)
LOGGERS = ("optuna_study", "optuna", "py.warnings")  # whose lines a worker's log file keeps


class TrialSource:
    """Claims the next trial for a worker, and keeps the studies open that it has claimed from."""

    def __init__(
        self,
        store: Store,
        storage: BaseStorage,
        device: torch.device,
        task: WorkerTask,
        say: Callable[[Message], None],
        left_out: Collection[str],
    ) -> None:
        self.store = store
        self._storage = storage
        self._device = device
        self._task = task
        self._say = say
        self._left_out = left_out
        self._only = None if task.study is None else require_study(store, task.study)
        self._open: OrderedDict[str, OpenStudy] = OrderedDict()  # by UUID, last used at the end
        self._noted: dict[str, float] = {}  # when a study's note was last brought up to date
        self._met: dict[str, int] = {}  # totals of studies seen to be done
        self._unusable: dict[str, float] = {}  # when a study was found not to be workable here
        self._jumps = Jumps()
        self._log = _StudyLog(task.name)

    def close(self) -> None:
        """Let go of everything, once what has ended is noted."""
        for study in self._open.values():
            self._tidy(study, lambda _: True)
        self._log.close()
        self.store.close()

    def claim(self, lease: float, stop: StopSignal) -> TrialJob | NoTrialReason | None:
        """The next trial, or why there is none; None when the worker leaves while it waits.

        Raises:
            OptunaStudyError: the only study asked for cannot be worked on here.
            DeviceLostError: a capture has failed, and torch gives no memory back since.
            StoreError: the store fails.
        """
        _require_memory_back(self._device)
        try:
            return retry_until_done(lambda: self._claim(lease, stop), stop.wait)
        except UnreachableError:
            if stop.leaving:
                return None
            raise

    def release_memory(self) -> None:
        """Give back what a captured step has of a GPU, where others may need it meanwhile."""
        if kept.release():
            release_memory(self._device)

    def bring_up_to_date(self, stop: StopSignal) -> None:
        """Renew, now and then, what the study shows that a trial was last claimed from."""
        uuid, study = next(reversed(self._open.items()))
        if time.monotonic() - self._noted.get(uuid, 0.0) > NOTE_SECONDS:
            bring_up_to_date(study, stop.wait)
            self._noted[uuid] = time.monotonic()

    def _claim(self, lease: float, stop: StopSignal) -> TrialJob | NoTrialReason:
        if self._only is not None:
            return self._claim_of(self._only, lease, stop)
        scheduling.reap_all(self.store)  # a claim looks at its own study alone
        refusals = set()
        for study in scheduling.active_studies(self.store):
            if study.name in self._left_out:
                continue
            claimed = self._claim_if_usable(study, lease, stop)
            if isinstance(claimed, TrialJob):
                return claimed
            refusals.add(claimed)
        for reason in (
            NoTrialReason.WAITS_FOR_OTHERS,
            NoTrialReason.BUDGET_TAKEN,
            NoTrialReason.NOT_HERE,
        ):
            if reason in refusals:
                return reason
        return NoTrialReason.NOTHING_LEFT

    def _claim_if_usable(
        self, study: StudyRecord, lease: float, stop: StopSignal
    ) -> TrialJob | NoTrialReason:
        """As `_claim_of`, for one of several studies: one that cannot be worked on is left out."""
        if self._met.get(study.uuid) == study.total and study.confirm is None:
            return NoTrialReason.BUDGET_MET
        if time.monotonic() - self._unusable.get(study.uuid, -math.inf) < LOOK_AGAIN:
            return NoTrialReason.NOT_HERE
        if study.uuid not in self._open and (refusal := self._without_opening(study)):
            return refusal
        try:
            return self._claim_of(study, lease, stop)
        except FolderError:  # this worker's own, whatever the study
            raise
        except (UsageError, OtherVersionError) as error:
            self._unusable[study.uuid] = time.monotonic()
            self._say(Message(MessageKind.NOTE, str(error)))
            return NoTrialReason.NOT_HERE

    def _without_opening(self, study: StudyRecord) -> NoTrialReason | None:
        """Why a study is not worth loading its pictures, if so."""
        try:
            queue.reap(self.store, study)
        except NotFoundError:
            return NoTrialReason.DELETED
        counts = reads.counts(self.store, study)
        if study.is_done(counts.ended):
            self._met[study.uuid] = study.total
            return NoTrialReason.BUDGET_MET
        taken = counts.ended < study.total <= counts.ended + counts.running
        return NoTrialReason.BUDGET_TAKEN if taken else None

    def _claim_of(
        self, study: StudyRecord, lease: float, stop: StopSignal
    ) -> TrialJob | NoTrialReason:
        try:
            opened = self._opened(study)
            token = queue.new_token()  # finds the claim again whose answer was lost
            take = partial(queue.claim, self.store, study, self._task.name, lease=lease)
            claim = retry_until_done(
                lambda: take(token=token, cores=self._task.shared_cores), stop.wait
            )
        except NotFoundError:
            self._open.pop(study.uuid, None)
            return NoTrialReason.DELETED
        if isinstance(claim, Claim):
            self._log.begin(opened, claim.number)
            use_threads(opened.definition.config.train.threads)
            baseline = f" ({claim.baseline})" if claim.baseline else ""
            if claim.confirms is not None:
                baseline = f" (confirms trial {claim.confirms})"
            log.info("trial %d%s claimed", claim.number, baseline)
            return TrialJob(opened, claim, stop, lease, self._jumps)
        self._tidy(opened, stop.wait)
        if claim is NoTrialReason.BUDGET_MET:
            self._met[study.uuid] = study.total
        if claim in OVER and study.uuid in self._noted:
            del self._noted[study.uuid]
            bring_up_to_date(opened, stop.wait, last=True)
        return claim

    def _tidy(self, study: OpenStudy, wait: Callable[[float], bool]) -> None:
        if study.unnoted.trials:
            tidy(study, wait)

    def _opened(self, study: StudyRecord) -> OpenStudy:
        if study.uuid not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._tidy(self._open.popitem(last=False)[1], lambda _: True)
            self.release_memory()
            self._say(Message(MessageKind.OPENING, study.name))
            opened = open_study(self.store, self._storage, study, self._device, self._task)
            self._say(Message(MessageKind.OPENED, study.name))
            self._open[study.uuid] = opened
            self._noted[study.uuid] = time.monotonic()
            self._log.turn_to(opened)
            log.info("joins %s on %s", study.name, self._device)
            for sentence in differences(study, opened.environment):
                log.warning("differs from where the study was made: %s", sentence)
        self._open.move_to_end(study.uuid)
        return self._open[study.uuid]


class _StudyLog:
    """The worker's log file, in the folder of the study that it works on."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._path: Path | None = None
        self._handler: logging.Handler | None = None

    def turn_to(self, study: OpenStudy) -> None:
        """Write to the file in this study's folder from now on."""
        path = study.workspace.log(study.record.uuid, self._worker)
        if path == self._path:
            return
        self.close()
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        for name in LOGGERS:
            logging.getLogger(name).addHandler(handler)
        logging.getLogger(LOGGERS[0]).setLevel(logging.INFO)
        logging.captureWarnings(True)
        self._path, self._handler = path, handler

    def begin(self, study: OpenStudy, number: int) -> None:
        """Write to the file in this study's folder; what follows is about this trial."""
        self.turn_to(study)
        path = study.workspace.log(study.record.uuid, self._worker)
        with suppress(OSError), study.workspace.log_index(path).open("a") as index:
            index.write(json.dumps({"trial": number, "from": path.stat().st_size}) + "\n")

    def close(self) -> None:
        """Write nowhere."""
        if self._handler is None:
            return
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self._handler)
        self._handler.close()
        self._path = self._handler = None


def _require_memory_back(device: torch.device) -> None:
    """Refuse to go on where torch still counts a failed capture as begun; see docs/clusters.md.

    Raises:
        DeviceLostError: it does; no trial is lost yet.
    """
    if not kept.has_given_up():
        return
    try:
        release_memory(device)
    except RuntimeError as error:
        if not is_gpu_lost(error):
            raise
        raise DeviceLostError(
            f"torch gives no memory of {device} back since a CUDA graph could not be captured; "
            f"a fresh process takes this one's place; {GRAPHS_VARIABLE}=0 captures none"
        ) from error


def open_trial_source(
    task: WorkerTask, say: Callable[[Message], None], left_out: Collection[str] = ()
) -> TrialSource:
    """Open the store and the device of a task; `say` gets sentences for people.

    Raises:
        NotFoundError: no such study.
        DeviceError: no such device.
        StoreError: the store cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    device = pick_device(task.device)
    use_device(device)
    kept.keep_steps()
    store = open_store(task.address)
    try:
        return TrialSource(store, optuna_storage(store), device, task, say, left_out)
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
