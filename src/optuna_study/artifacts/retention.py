"""Which files of a study stay: the models of the best few, the checkpoints of running trials."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from optuna_study.errors import NotFoundError
from optuna_study.store.reads import reads

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

log = logging.getLogger(__name__)

KEPT_MODELS = 3
_NUMBER = re.compile(r"trial-(\d+)\.pt")


def is_among_best(store: Store, study: StudyRecord, value: float) -> bool:
    """Whether a trial about to complete with `value` would be among the best few."""
    best = reads.best_few(store, study, KEPT_MODELS)
    if len(best) < KEPT_MODELS:
        return True
    last = reads.trial(store, study, best[-1]).value
    if last is None:
        return True
    return value > last if study.direction == "maximize" else value < last


def remove_superseded(store: Store, study: StudyRecord, workspace: Workspace) -> None:
    """Remove checkpoints of ended trials, and models that are no longer among the best few.

    A trial that is about to end has its model here already, so files of open trials stay.
    """
    best = set(reads.best_few(store, study, KEPT_MODELS))
    models = workspace.kept_model(study.uuid, 0).parent
    checkpoints = workspace.checkpoint(study.uuid, 0).parent
    for folder, keep in ((models, best), (checkpoints, set[int]())):
        for path, number in _numbered(folder):
            if number not in keep and _ended(store, study, number):
                path.unlink(missing_ok=True)


def _numbered(folder: Path) -> list[tuple[Path, int]]:
    if not folder.is_dir():
        return []
    matches = [(path, _NUMBER.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    return [(path, int(match[1])) for path, match in matches if match]


def _ended(store: Store, study: StudyRecord, number: int) -> bool:
    try:
        return reads.trial(store, study, number).end is not None
    except NotFoundError:
        return True
