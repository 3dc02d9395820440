"""From a worker's options to a crew for a store that others have filled, perhaps elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.launch import ask
from optuna_study.launch.local import ThisMachine
from optuna_study.launch.worker_count import check_crew, deal, worker_count
from optuna_study.paths import Workspace
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import scheduling
from optuna_study.store.studies.studies import load_study
from optuna_study.worker import machine
from optuna_study.worker.entry import warm
from optuna_study.worker.messages import Order
from optuna_study.worker.versions import pinned_definition, require_same_version

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


@dataclass(frozen=True)
class JoinRequest:
    """The options of a worker, as given; without `study` it serves every active one."""

    study: str | None = None
    forever: bool = False
    workers: str | int = "auto"  # a number, or auto
    device: str = "auto"
    data: Path | None = None  # pictures to look at first
    timeout: float | None = None  # seconds of this command
    storage: StoreAddress | None = None
    workspace: Workspace | None = None


@dataclass(frozen=True)
class Joined:
    """A store, perhaps one of its studies, and the workers that join it."""

    study: StudyRecord | None
    store: Store
    workspace: Workspace
    orders: tuple[Order, ...]  # one a worker
    timeout: float | None
    resumed: bool = True  # others have begun
    notes: tuple[str, ...] = ()

    def log(self, order: Order) -> Path:
        """The log file of a worker; a pattern where it has one in several studies."""
        return self.workspace.log("*" if self.study is None else self.study.uuid, order.name)


def join(request: JoinRequest) -> Joined:
    """Check what a worker needs: the store, and of the only study version and pictures.

    A server's store that is still empty is made, so that workers may come first; a file is not,
    since its name may be mistyped.

    Raises:
        UsageError: options that cannot be used.
        NotFoundError: no such study.
        OtherVersionError: another version of this package has made the study.
        DataError: its pictures are not here.
        StoreError: the store cannot be reached, or is of another version.
        FolderError: the workspace cannot be written.
    """
    check_crew(request.workers, request.timeout)
    workspace = request.workspace or Workspace.locate()
    address = request.storage or StoreAddress.of_file(workspace.database)
    is_file = address.path is not None
    store = open_store(address, create=not is_file, upgrade=is_file)
    study = None if request.study is None else load_study(store, request.study)
    if study is not None:
        require_same_version(study)
    warm()
    workspace.require_writable()
    folder = request.data.absolute() if request.data is not None else None
    facts = ask.look_around(request.device)
    if study is None:
        count = worker_count(request.workers, _threads(store), facts, machine.cores())
    else:
        definition = pinned_definition(study)
        folder = ask.locate(study, definition, folder, workspace)
        count = ThisMachine().crew(request.workers, definition, folder, workspace, facts)
    order = Order(
        address=address,
        workspace=workspace.root,
        device=facts.device,
        study=None if study is None else study.name,
        folder=folder,
        forever=request.forever,
    )
    return Joined(study, store, workspace, deal(order, facts, count), request.timeout)


def _threads(store: Store) -> int:
    """The most threads that a trial of the active studies computes with."""
    served = scheduling.active_studies(store)
    return max((each.definition["config"]["train"]["threads"] for each in served), default=1)
