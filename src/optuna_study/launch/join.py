"""What `worker` needs before it joins: a store, and of the only study version and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.config.allowed import require_allowed
from optuna_study.definition.allowed import named_modules
from optuna_study.launch import ask
from optuna_study.launch.local import ThisMachine
from optuna_study.launch.task import AnyTask, Task
from optuna_study.launch.worker_count import assign_devices, check_workers, worker_count
from optuna_study.paths import Workspace
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import scheduling
from optuna_study.store.studies.studies import load_study
from optuna_study.worker import machine
from optuna_study.worker.forking import warm
from optuna_study.worker.messages import WorkerTask
from optuna_study.worker.versions import pinned_definition, require_same_version

if TYPE_CHECKING:
    from pathlib import Path


def join(
    study_name: str | None = None,
    *,
    data: Path | None = None,
    device: str = "auto",
    workers: str | int = "auto",
    timeout: float | None = None,
    forever: bool = False,
    allowed: tuple[str, ...] = (),
    storage: StoreAddress | None = None,
    workspace: Workspace | None = None,
) -> AnyTask:
    """Check what a worker needs: the store, and of the only study version and pictures.

    Without a name it serves every active study. A server's store that is still empty is made, so
    that workers may come first; a file is not, since its name may be mistyped. `data` are pictures
    to look at first, `timeout` the seconds of this command, `allowed` the modules whose functions
    studies may name.

    Raises:
        UsageError: options that cannot be used.
        NotFoundError: no such study.
        OtherVersionError: another version of this package has made the study.
        DataError: its pictures are not here.
        StoreError: the store cannot be reached, or is of another version.
        FolderError: the workspace cannot be written.
    """
    check_workers(workers, timeout)
    workspace = workspace or Workspace.locate()
    address = storage or StoreAddress.of_file(workspace.database)
    is_file = address.path is not None
    store = open_store(address, create=not is_file, upgrade=is_file)
    study = None if study_name is None else load_study(store, study_name)
    if study is not None:
        require_same_version(study)
    warm()
    workspace.require_writable()
    folder = data.absolute() if data is not None else None
    facts = ask.look_around(device)
    if study is None:
        served = scheduling.active_studies(store)
        threads = (each.definition["config"]["train"]["threads"] for each in served)
        count = worker_count(workers, max(threads, default=1), facts, machine.cores())
    else:
        definition = pinned_definition(study)
        require_allowed(study.name, named_modules(definition), allowed)
        folder = ask.locate(study, definition, folder, workspace)
        count = ThisMachine().count_workers(workers, definition, folder, workspace, facts)
    worker = WorkerTask(
        address=address,
        workspace=workspace.root,
        device=facts.device,
        study=study_name if study is None else study.name,
        folder=folder,
        forever=forever,
        allowed=allowed,
        shared_cores=machine.cores(),
    )
    return Task(store, study, workspace, assign_devices(worker, facts, count), timeout)
