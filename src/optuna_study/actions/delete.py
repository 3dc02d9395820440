"""Remove a study: its rows, the pictures of its trials, its folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna_study.errors import UsageError
from optuna_study.paths import Workspace, writing
from optuna_study.store.reads import reads
from optuna_study.store.studies.copying import artifact_ids
from optuna_study.store.studies.deletion import delete_study
from optuna_study.text import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


@dataclass(frozen=True)
class Removed:
    """What was there of a study."""

    name: str
    place: str  # the store's URL as it may be shown
    trials: int
    files: int

    @property
    def sentence(self) -> str:
        """It, for people."""
        gone = f"{count(self.trials, 'trial')}, {count(self.files, 'file')}"
        return f"{self.name} is removed from {self.place}: {gone}"


def remove(store: Store, study: StudyRecord, workspace: Workspace) -> Removed:
    """Remove a study's rows, and then its files: those that stay behind belong to nobody.

    Raises:
        FolderError: its files cannot be removed.
        StoreError: the store fails.
    """
    counts = reads.counts(store, study)
    artifacts = artifact_ids(store, study)
    delete_study(store, study)
    files = _remove_artifacts(workspace, artifacts)
    folder = workspace.study(study.uuid)
    files += sum(path.is_file() for path in folder.rglob("*"))
    if folder.exists():
        with writing(folder):
            shutil.rmtree(folder)
    trials = counts.ended + counts.running + counts.waiting
    return Removed(study.name, str(store.address), trials, files)


def _remove_artifacts(workspace: Workspace, ids: Iterable[str]) -> int:
    removed = 0
    for each in ids:
        try:
            path = workspace.artifact(each)
        except UsageError:  # no file of ours is called so: written by somebody else
            continue
        if path.is_file():
            with writing(path):
                path.unlink()
            removed += 1
    return removed
