"""One worker process: claim, work, end, again, until there is nothing left to do.

It ignores SIGINT, which a terminal sends to everyone: the launch decides. SIGTERM, SIGHUP, a word
from the launch and the launch's death make it stop between two steps and give its trial back.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import optuna

from optuna_study.definition.resolve import from_json
from optuna_study.errors import DataError, NotFoundError, OptunaStudyError
from optuna_study.paths import Workspace, writing
from optuna_study.search import site as sites
from optuna_study.search.brake import Brake, Cause
from optuna_study.search.objective import Left
from optuna_study.search.site import Site
from optuna_study.store import queue, studies
from optuna_study.store.open import open_store, optuna_storage
from optuna_study.store.records import Claim, NoTrialReason, StudyState
from optuna_study.training.data import load_data
from optuna_study.training.device import environment, pick_device, use_threads
from optuna_study.workers.heartbeat import beating
from optuna_study.workers.orders import Message, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from optuna_study.workers.orders import Order

log = logging.getLogger(__name__)

WAIT = 1.0  # seconds between two looks at a budget that is all taken
NOTE_SECONDS = 15.0  # between two notes on the study


class Leaving:
    """Whether this worker is to leave; tells the trial it is working on."""

    def __init__(self) -> None:
        self._told = threading.Event()
        # A signal may interrupt the very code that holds the lock.
        self._lock = threading.RLock()
        self._brake: Brake | None = None
        self.reason = ""

    def __call__(self, reason: str) -> None:
        """Leave, for a reason that the trial given back will carry."""
        with self._lock:
            self.reason = self.reason or reason
            self._told.set()
            if self._brake is not None:
                self._brake.pull(Cause.LEAVING, self.reason)

    @property
    def told(self) -> bool:
        """Whether it was told to leave."""
        return self._told.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, less when told to leave."""
        self._told.wait(seconds)

    @contextmanager
    def stopping(self, brake: Brake) -> Iterator[None]:
        """While the block runs, being told to leave pulls this brake."""
        with self._lock:
            self._brake = brake
            if self.told:
                brake.pull(Cause.LEAVING, self.reason)
        try:
            yield
        finally:
            with self._lock:
                self._brake = None


def serve(order: Order, control: Connection[Message, Message]) -> None:
    """Be the worker process of a launch; says on the pipe how it went."""
    leave = Leaving()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: leave(f"stopped by {signal.Signals(got).name}"))
    threading.Thread(target=_listen, args=(control, leave), daemon=True).start()
    try:
        outcome = work(order, leave, lambda: control.send(Message(Word.READY)))
    except OptunaStudyError as error:
        log.error("cannot go on: %s", error)
        _say(control, Message(Word.ERROR, str(error), type(error).__name__))
        sys.exit(1)
    except Exception as error:
        log.exception("cannot go on")
        text = f"{type(error).__name__}: {error}"
        _say(control, Message(Word.ERROR, text, OptunaStudyError.__name__))
        raise
    _say(control, Message(Word.DONE, outcome))


def _listen(control: Connection[Message, Message], leave: Leaving) -> None:
    """Wait for the launch's word; a pipe that closes is a launch that died."""
    try:
        while control.recv().word is not Word.STOP:
            pass
    except (EOFError, OSError):
        leave("the launch ended")
    else:
        leave("the launch was stopped")


def _say(control: Connection[Message, Message], message: Message) -> None:
    try:
        control.send(message)
    except OSError:
        log.warning("the launch is gone, nobody hears: %s", message)


def work(order: Order, leave: Leaving, ready: Callable[[], None], lease: float = 60.0) -> str:
    """Work on a study's trials until there is none to be had; the reason for that.

    Raises:
        NotFoundError: no such study.
        DataError: other pictures than the study was made with.
        DeviceError: no such device.
        StoreError: the store cannot be reached.
    """
    site = open_site(order)
    ready()
    log.info("joins %s on %s", site.study.name, site.device)
    reason = _work_through(site, order.name, leave, lease)
    if reason in (NoTrialReason.BUDGET_MET, NoTrialReason.STOPPING, NoTrialReason.PAUSED):
        sites.bring_up_to_date(site, last=True)
    log.info("leaves: %s", reason)
    site.store.close()
    return reason


def open_site(order: Order) -> Site:
    """Open store, data and device of an order, and the worker's log file.

    Raises:
        OptunaStudyError: see `work`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    workspace = Workspace(order.workspace)
    store = open_store(order.url)
    study = studies.find_study(store, order.study)
    if study is None:
        raise NotFoundError(f"no study '{order.study}' in {store.masked_url}; was it deleted?")
    _log_to(workspace, study.uuid, order.name)
    definition = from_json(study.definition)
    device = pick_device(order.device)
    settings = definition.config
    use_threads(settings.train.threads)
    data = load_data(settings.data, order.folder, workspace, device, settings.train.memory_format)
    if data.fingerprint != study.fingerprint:
        raise DataError(
            f"{study.name}: the pictures here are not those the study was made with "
            f"({study.data_source})"
        )
    return Site(
        store=store,
        storage=optuna_storage(store),
        study=study,
        definition=definition,
        workspace=workspace,
        data=data,
        device=device,
        environment=environment(device, settings.train.threads),
        tensorboard=order.tensorboard,
    )


def _log_to(workspace: Workspace, uuid: str, name: str) -> None:
    path = workspace.log(uuid, name)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("optuna_study")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    for noisy in ("optuna", "py.warnings"):
        logging.getLogger(noisy).addHandler(handler)
    logging.captureWarnings(True)


def _work_through(site: Site, owner: str, leave: Leaving, lease: float) -> str:
    noted = time.monotonic()
    while not leave.told:
        claimed = queue.claim(site.store, site.study, owner, lease=lease)
        if claimed is NoTrialReason.BUDGET_TAKEN:
            leave.wait(WAIT)
        elif isinstance(claimed, NoTrialReason):
            return claimed
        else:
            _work_on(site, claimed, leave, lease)
            if time.monotonic() - noted > NOTE_SECONDS:
                sites.bring_up_to_date(site)
                noted = time.monotonic()
    return leave.reason


def _work_on(site: Site, claim: Claim, leave: Leaving, lease: float) -> None:
    log.info("trial %d%s claimed", claim.number, f" ({claim.baseline})" if claim.baseline else "")
    brake = Brake()
    with (
        leave.stopping(brake),
        beating(
            lambda: queue.renew(site.store, claim, lease),
            brake,
            lease,
            site.definition.search.trial_timeout,
        ),
    ):
        outcome = sites.work_on(site, claim, brake)
    if outcome.left is Left.ENDED and sites.enough_without_improvement(site):
        log.info("no improvement for long: the study stops")
        studies.set_state(site.store, site.study, StudyState.STOPPING)
