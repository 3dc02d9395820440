"""Copy a study with its files: rows by `store/studies/copying.py`, files here.

Files come first and rows last, so that whoever sees the copy finds everything of it. Checkpoints
are taken before the rows: epochs are reported before they are checkpointed, so the rows know of
every epoch that a checkpoint stands for, also while the original is being worked on. A signal
breaks the copying of files off, which takes as long as they are large, and they are removed again;
the rows are one transaction of seconds, which it does not.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.errors import DataError
from optuna_study.launch.options import check_store
from optuna_study.launch.signals import interruptible
from optuna_study.paths import Workspace, writing
from optuna_study.store.engine.open import open_store
from optuna_study.store.studies import copying
from optuna_study.store.studies.studies import load_study
from optuna_study.text import count

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from optuna_study.store.engine.address import StoreAddress
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord
    from optuna_study.store.studies.copying import Copied, Identity

TO_FOLDER = "--to-artifacts"


@dataclass(frozen=True)
class CopyRequest:
    """What to copy and where to; without a name the copy has the original's."""

    study: str
    address: StoreAddress
    workspace: Workspace
    to: StoreAddress
    to_workspace: Workspace
    name: str | None = None


@dataclass(frozen=True)
class StudyCopy:
    """A copy that was made; `waiting` of its trials had been running."""

    original: str
    name: str
    place: str  # the target's URL as it may be shown
    trials: int
    waiting: int
    files: int

    @property
    def sentence(self) -> str:
        """What was copied where to."""
        waiting = f", {self.waiting} of them running before" if self.waiting else ""
        return (
            f"{self.original} is now {self.name} in {self.place} as well: "
            f"{count(self.trials, 'trial')}{waiting}, {count(self.files, 'file')}"
        )


def copy_study(request: CopyRequest) -> StudyCopy:
    """Copy a study, to be gone on with there as it would have been here.

    Raises:
        NotFoundError: no such study.
        UsageError: the target has a study of that name, or no study may be called so.
        StoreError: either store cannot be reached or is of another version.
        FolderError: the target's folder cannot be written.
        DiskFullError: no space left there.
        InterruptedBySignalError: SIGINT, SIGTERM or SIGHUP; nothing of the copy is left.
    """
    with closing(open_store(request.address)) as source:
        study = load_study(source, request.study)
        new = copying.new_identity(study, request.name)
        check_store(request.to, request.to_workspace, "--to")
        request.to_workspace.require_writable(TO_FOLDER)
        with closing(open_store(request.to, create=True)) as target:
            copying.require_free(target, study, new)
            rows, files = _copy(request, source, study, target, new)
            place = str(target.address)
    return StudyCopy(study.name, new.name, place, rows.trials, rows.waiting, files)


def _copy(
    request: CopyRequest, source: Store, study: StudyRecord, target: Store, new: Identity
) -> tuple[Copied, int]:
    """Copy files and rows; what was copied, and how many files."""
    artifacts = copying.artifact_ids(source, study)
    with interruptible("nothing was copied") as go_on:
        try:
            files = copy_folder(request.workspace, study, request.to_workspace, new)
            files += copy_artifacts(request.workspace, request.to_workspace, new, artifacts)
            go_on()  # who is broken off while committing does not know whether the rows are there
            rows = copying.copy_rows(source, study, target, new)
        except BaseException:
            go_on()
            remove_files(request.to_workspace, new, artifacts)
            raise
        # Those of trials that ended in between.
        ended = copying.artifact_ids(source, study)
        files += copy_artifacts(request.workspace, request.to_workspace, new, ended)
    return rows, files


def copy_folder(
    workspace: Workspace, study: StudyRecord, to_workspace: Workspace, new: Identity
) -> int:
    """Copy a study's folder but for files just being written; how many files.

    Raises:
        DataError: a file cannot be read.
        FolderError: the target's folder cannot be written.
        DiskFullError: no space left there.
    """
    source, target = workspace.study(study.uuid), to_workspace.study(new.uuid)
    return sum(
        _copy_file(path, target / path.relative_to(source))
        for path in sorted(source.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    )


def copy_artifacts(
    workspace: Workspace, to_workspace: Workspace, new: Identity, ids: Iterable[str]
) -> int:
    """Copy the artifacts that are there and not yet copied; how many files.

    Raises:
        DataError: a file cannot be read.
        FolderError: the target's folder cannot be written.
        DiskFullError: no space left there.
    """
    pairs = [(workspace.artifact(each), to_workspace.artifact(new.artifact(each))) for each in ids]
    return sum(_copy_file(source, target) for source, target in pairs if not target.exists())


def _copy_file(source: Path, target: Path) -> bool:
    """Copy a file, unless it is gone.

    Nobody looks for it before the rows are there, so it need not be written beside and renamed.
    """
    try:
        reader = source.open("rb")
    except FileNotFoundError:
        return False  # a checkpoint whose trial has just ended, a picture that somebody removed
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror})") from error
    with reader, writing(target, TO_FOLDER):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as writer:
            shutil.copyfileobj(reader, writer)
    return True


def remove_files(workspace: Workspace, new: Identity, ids: Iterable[str]) -> None:
    """Remove what was copied for rows that never came."""
    shutil.rmtree(workspace.study(new.uuid), ignore_errors=True)
    for artifact_id in ids:
        workspace.artifact(new.artifact(artifact_id)).unlink(missing_ok=True)
