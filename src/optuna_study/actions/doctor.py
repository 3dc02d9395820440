"""Looks for what is wrong with a store, a study and this machine; only `fix` changes anything.

Every line says what and where, and the next step where there is one to take. torch is asked, in a
process forked for it, only where the system shows an NVIDIA driver.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.artifacts.retention import find_superseded, find_unfinished, study_folders
from optuna_study.config.catalogue import dataset_names
from optuna_study.data.availability import is_here, way_to_get
from optuna_study.errors import DeviceError, OptunaStudyError, StoreError
from optuna_study.launch import ask
from optuna_study.report.checkup import Checkup, Line, curve_lines, failure_lines, plain_lines
from optuna_study.report.curves.read import read_study
from optuna_study.store.engine.connection import versions
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.reads.aggregates import plain_running
from optuna_study.store.records import EndKind, TrialState
from optuna_study.store.schema import CLASS_COUNTS, SIDE_COUNTS
from optuna_study.store.studies.studies import find_study, load_study
from optuna_study.text import Advice, count, duration
from optuna_study.worker import machine
from optuna_study.worker import machine as memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord, TrialRecord
    from optuna_study.worker.messages import Facts

DRIVER = Path("/proc/driver/nvidia/version")
LITTLE_SPACE = 1_000_000_000  # bytes: a few checkpoints of a full AlexNet
LARGE_STORE = 500_000_000  # bytes from which looking through a SQLite file takes too long
MOST_CURVES = 4000  # the newest trials, whose curves are read: a second of CPU time


@dataclass(frozen=True)
class Request:
    """What to look at; without `study` only the store and this machine."""

    address: StoreAddress
    workspace: Workspace
    study: str | None = None
    fix: bool = False
    address_given: bool = True  # else the workspace's own file, which need not be there yet


def examine(
    request: Request,
    *,
    driver: Path = DRIVER,
    look: Callable[[str], Facts] = ask.look_around,
) -> Checkup:
    """Look at everything.

    Raises:
        NotFoundError: no such study.
    """
    lines = [
        *_unfinished(request),
        *_cache(request.workspace, fix=request.fix),
        *_machine(request.workspace, driver, look),
    ]
    path = request.address.path
    absent = path is not None and not path.exists()
    if absent and not request.address_given and request.study is None:
        none = Line("store", Advice("none yet; ", ["launch"], " makes it"))
        strays = _of_no_study(study_folders(request.workspace))
        return Checkup("this machine", (none, *strays, *lines))
    try:
        store = open_store(request.address, upgrade=request.fix)
    except StoreError as error:
        return Checkup(str(request.address), (_unusable(error), *lines))
    try:
        return _with_store(request, store, lines)
    finally:
        store.close()


def _with_store(request: Request, store: Store, lines: list[Line]) -> Checkup:
    found = list(_store(store))
    if request.study is None:
        folders, known = study_folders(request.workspace), set()
        for row in reads.list_studies(store):
            study = find_study(store, row.name)
            if study is not None:
                known.add(study.uuid)
                found += _lost(store, study, fix=request.fix)
                found += _halted(study, row.ended)
                found += _superseded(store, study, request)
        found += _of_no_study([folder for folder in folders if folder.name not in known])
        return Checkup(str(store.address), (*found, *lines))
    study = load_study(store, request.study)
    found += _lost(store, study, fix=request.fix)
    counts = reads.counts(store, study)
    found += _halted(study, counts.ended)
    found += _superseded(store, study, request)
    found += _trials(study, reads.failed_or_waiting(store, study), request.workspace)
    found += _data(study, request.workspace)
    amount = counts.ended + counts.running + counts.waiting
    first = max(0, amount - MOST_CURVES)
    readings = read_study(store, study, first=first)
    if study.environment.get(CLASS_COUNTS):
        if first:
            found.append(Line("curves", f"of the newest {MOST_CURVES:,} of {amount:,} trials"))
        sides = study.environment.get(SIDE_COUNTS) or {}
        found += curve_lines(readings, study.name, sides.get("validation"))
    else:
        found.append(
            Line(
                "curves",
                f"{study.name} was made before chance level was recorded: its curves are not read",
            )
        )
    return Checkup(study.name, (*found, *lines), tuple(readings))


def _unusable(error: StoreError) -> Line:
    step = error.step or "check --storage"
    return Line("store", error.what, step if step.endswith("?") else f"{step}.")


def _store(store: Store) -> Iterator[Line]:
    revision, version = versions(store)
    tables = "no studies of optuna-study" if version is None else f"own tables {version}"
    yield Line("store", f"{store.address}: Optuna's schema {revision}, {tables}")
    path = store.address.path
    if path is None or path.stat().st_size > LARGE_STORE:
        return
    with store.read() as connection:
        said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if said != "ok":
        yield Line(
            "store", f"{path}: damaged: {said}", "Stop all workers and restore a copy of the file."
        )


def _lost(store: Store, study: StudyRecord, *, fix: bool) -> Iterator[Line]:
    """Trials whose leases have run out; with `fix` they are given back. And plain Optuna's."""
    with store.read() as connection:
        times = store.times(connection)
    lost = [
        each
        for each in reads.progress(store, study)
        if each.lease_until is not None and each.lease_until < times.lost
    ]
    returned = queue.reap(store, study) if fix and lost else []
    for each in lost:
        silent = duration(times.lease - (each.lease_until or times.lease))
        what = (
            f"{study.name}, trial {each.number}: its worker {each.owner} is lost, the lease ran "
            f"out {silent} ago"
        )
        if each.number in returned:
            yield Line("workers", f"{what}; given back")
        else:
            yield Line(
                "workers",
                what,
                Advice(
                    ["doctor", study.name, "--fix"], " gives it back; so does the next worker."
                ),
            )
    if not lost:
        counts = reads.counts(store, study)
        held = count(counts.running - counts.plain_running, "trial")
        yield Line("workers", f"{study.name}: {held} running, none lost")
    yield from plain_lines(plain_running(store, study), study.name)


def _superseded(store: Store, study: StudyRecord, request: Request) -> Iterator[Line]:
    """Files of trials that nobody needs, such as those of a launch from another folder."""
    paths = find_superseded(store, study, request.workspace)
    if paths:
        what = f"{study.name}: {count(len(paths), 'file')} that no trial needs, first {paths[0]}"
        yield _left_over(what, paths, ["doctor", study.name, "--fix"], fix=request.fix)


def _of_no_study(folders: list[Path]) -> Iterator[Line]:
    """Folders of studies that this store does not hold; another may, so none is removed."""
    if folders:
        size = 0
        for path in (path for folder in folders for path in folder.rglob("*")):
            with suppress(FileNotFoundError):  # another store's workers may be at work there
                size += path.lstat().st_size
        what = f"{count(len(folders), 'folder')} of studies that this store does not hold"
        yield Line(
            "files",
            f"{what}, {size / 1e6:,.0f} MB, first {folders[0]}: of another store, or left over",
        )


def _unfinished(request: Request) -> Iterator[Line]:
    paths = find_unfinished(request.workspace)
    if paths:
        what = f"{count(len(paths), 'file')} that killed processes left half written, first "
        yield _left_over(f"{what}{paths[0]}", paths, ["doctor", "--fix"], fix=request.fix)


def _left_over(what: str, paths: list[Path], command: list[str], *, fix: bool) -> Line:
    if not fix:
        return Line("files", what, Advice(command, " removes what is left over."))
    for path in paths:
        path.unlink(missing_ok=True)
    return Line("files", f"{what}; removed")


def _halted(study: StudyRecord, ended: int) -> Iterator[Line]:
    if study.halted and ended < study.total:
        yield Line(
            "trials",
            f"{study.name}: too many failed in a row, {study.total - ended} left to run",
            Advice(["resume", study.name], " lets it go on."),
        )


def _trials(study: StudyRecord, trials: list[TrialRecord], workspace: Workspace) -> Iterator[Line]:
    failed = [trial for trial in trials if trial.end is EndKind.FAILED]
    yield from failure_lines(failed, study.name)
    for each in trials:
        if each.state is not TrialState.WAITING or not each.checkpoint_epoch:
            continue
        path = workspace.checkpoint(study.uuid, each.number, each.checkpoint_claim)
        if not path.is_file():
            yield Line(
                "trials",
                f"trial {each.number} waits with a checkpoint of epoch {each.checkpoint_epoch} "
                f"that is not here: {path}",
                "Give the folder it lies in with --artifacts, or let it begin anew.",
            )


def _data(study: StudyRecord, workspace: Workspace) -> Iterator[Line]:
    """Whether a worker of this machine would find the study's pictures."""
    source = study.data_source
    if Path(source).is_absolute():
        if Path(source).exists():
            yield Line("data", f"{source}: here")
        else:
            yield Line(
                "data",
                f"{source}: the pictures of {study.name} are not there",
                "Put them back at that place; workers on this machine cannot join without them.",
            )
    elif source in dataset_names():
        way = way_to_get(source, workspace)
        if is_here(source, workspace):
            yield Line("data", f"{source}: {'built in' if way is None else 'here'}")
        else:
            yield Line(
                "data",
                f"{source}: the pictures of {study.name} are not in {workspace.root}",
                f"Get them: {way}." if way else "Launch with --data DIR.",
            )
    else:
        yield Line("data", f"{source}: code of your own")


def _cache(workspace: Workspace, *, fix: bool) -> Iterator[Line]:
    """Decoded pictures and features that are damaged or half there; with `fix` removed."""
    cache = workspace.cache("x").parent
    if not cache.is_dir() or not any(each.is_dir() for each in cache.iterdir()):
        return
    from optuna_study.data.cache import damaged_entries  # loads numpy

    for folder, what in damaged_entries(workspace, remove=fix):
        if fix:
            yield Line("data", f"{folder}: {what}; removed")
        else:
            step = Advice(["doctor", "--fix"], " removes it; whoever needs it builds it again.")
            yield Line("data", f"{folder}: {what}", step)


def _machine(workspace: Workspace, driver: Path, look: Callable[[str], Facts]) -> Iterator[Line]:
    left = memory.free()
    free = "" if left is None else f", {left / 1e9:.1f} GB of memory free"
    yield Line("machine", f"{count(machine.cores(), 'core')}{free}")
    yield _space(workspace)
    if not driver.exists():
        yield Line("machine", "no NVIDIA driver: training runs on the CPU")
        return
    try:
        facts = look("cuda")
    except DeviceError as error:
        yield Line(
            "machine",
            f"an NVIDIA driver is here ({driver}), yet torch finds no GPU: {error}",
            "Install a torch build for this driver's CUDA version, or train with --device cpu.",
        )
    except OptunaStudyError as error:
        yield Line("machine", f"torch cannot be asked for the GPU: {error}", "Reinstall torch.")
    else:
        yield Line("machine", count(facts.cuda_devices, "CUDA device"))


def _space(workspace: Workspace) -> Line:
    """Free space where the workspace is, or will be."""
    place = workspace.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    what = f"{workspace.root}: {free / 1e9:.1f} GB free"
    if free >= LITTLE_SPACE:
        return Line("machine", what)
    return Line("machine", what, "Free some, or choose another folder with --artifacts.")
