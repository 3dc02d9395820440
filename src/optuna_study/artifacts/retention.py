"""Which files of a study stay: the models of the best few, the checkpoints of running trials."""

from __future__ import annotations

import logging
import re
import shutil
import time
from typing import TYPE_CHECKING

from optuna_study.paths import Workspace, writing, written_beside
from optuna_study.store import pareto
from optuna_study.store.reads import aggregates, reads

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import Claim, StudyRecord

log = logging.getLogger(__name__)

KEPT_MODELS = 3  # of searched trials, beside the best baseline's: the finalists
FRONT_MODELS = 20  # of two objectives' Pareto front, the first ones by the metric
WRITTEN_WITHIN = 3600.0  # seconds, however large a file and slow a disk
_UNFINISHED = re.compile(r"\..+-[0-9a-f]{32}")  # as `written_beside` names them
_NAME = re.compile(r"trial-(\d+)(?:-(\d+))?\.pt")


def is_among_best(
    store: Store, study: StudyRecord, value: float, second: float | None, *, baseline: bool
) -> bool:
    """Whether a trial about to complete with its values would be among those with a kept model."""
    if second is not None and _joins_front(store, study, value, second):
        return True
    most = 1 if baseline else _searched(study)
    best = reads.best_few(store, study, most, baselines=baseline)
    if len(best) < most:
        return True
    last = list(best.values())[-1]
    if last is None:
        return True
    return value > last if study.direction == "maximize" else value < last


def lacks_model(
    store: Store, study: StudyRecord, workspace: Workspace, confirmed: int, run: int
) -> bool:
    """Whether a confirmed trial has no model here, its own or that of a run other than `run`.

    Confirmation may be asked for more trials than have kept theirs: a run's stands in for it.
    """
    runs = aggregates.confirming(store, study)
    numbers = {confirmed, *(number for number, of in runs.items() if of == confirmed)} - {run}
    models = _numbered(workspace.kept_model(study.uuid, 0, None).parent)
    return not any(number in numbers for _, number, _ in models)


def _joins_front(store: Store, study: StudyRecord, value: float, second: float) -> bool:
    """Whether values of a further trial would stand among the front's that keep their model."""
    known = pareto.weighed_trials(store, study)
    further = pareto.Weighed(1 + max((each.number for each in known), default=0), value, second)
    return further in pareto.front([*known, further], study)[:FRONT_MODELS]


def _searched(study: StudyRecord) -> int:
    """How many searched trials keep their model: whatever confirmation chooses can be exported."""
    confirm = study.definition["search"].get("confirm") or {}
    return max(KEPT_MODELS, int(confirm.get("top", 0)))


def remove_superseded(store: Store, study: StudyRecord, workspace: Workspace) -> None:
    """Remove what `find_superseded` finds."""
    for path in find_superseded(store, study, workspace):
        path.unlink(missing_ok=True)


def find_superseded(store: Store, study: StudyRecord, workspace: Workspace) -> list[Path]:
    """Checkpoints that nobody resumes from, and models not, or no longer, among the best.

    A trial that is about to end has its model here already, so its owner's files stay, and so does
    the checkpoint that stands. Workers remove them in their own folder when a trial ends; those of
    a launch from another folder stay there.
    """
    checkpoints = _numbered(workspace.checkpoint(study.uuid, 0, None).parent)
    models = _numbered(workspace.kept_model(study.uuid, 0, None).parent)
    if not checkpoints and not models:
        return []
    # In this order: a trial that ends in between is among the best then, or has not ended yet.
    owners = aggregates.file_owners(
        store, study, (number for _, number, _ in checkpoints + models)
    )
    best = {
        *reads.best_few(store, study, _searched(study), baselines=False),
        *reads.best_few(store, study, 1, baselines=True),
    }
    front = pareto.front(pareto.weighed_trials(store, study), study)
    best |= {each.number for each in front[:FRONT_MODELS]}
    best |= aggregates.excluded(store, study).keys()  # which `include` takes back whole
    best |= aggregates.confirming(store, study).keys()  # kept where nothing else was
    found = []
    for path, number, claim in checkpoints:
        ended, claims, standing = owners.get(number, (True, 0, None))
        if ended or claim not in (standing, claims):
            found.append(path)
    for path, number, claim in models:
        ended, claims, _ = owners.get(number, (True, 0, None))
        if claim not in (None, claims) or (ended and number not in best):
            found.append(path)
    return found


def find_unfinished(workspace: Workspace) -> list[Path]:
    """Files that killed processes left half written; those of living ones are younger."""
    before = time.time() - WRITTEN_WITHIN
    return [
        path
        for path in sorted(workspace.root.rglob(".*"))
        if _UNFINISHED.fullmatch(path.name) and path.is_file() and path.stat().st_mtime < before
    ]


def study_folders(workspace: Workspace) -> list[Path]:
    """The folders of studies, each named by its UUID, whether a store holds them or not."""
    folder = workspace.study("x").parent
    return [each for each in sorted(folder.iterdir()) if each.is_dir()] if folder.is_dir() else []


def take_over(workspace: Workspace, claim: Claim) -> None:
    """Give the checkpoint that stands to the trial's new owner: the former may yet write its own.

    Where it is not to be seen from here the trial begins anew.
    """
    standing, own = (
        workspace.checkpoint(claim.study_uuid, claim.number, ordinal)
        for ordinal in (claim.checkpoint_claim, claim.ordinal)
    )
    if standing == own or not standing.is_file():
        return
    with writing(own), written_beside(own) as beside:
        shutil.copyfile(standing, beside)


def _numbered(folder: Path) -> list[tuple[Path, int, int | None]]:
    """The files of trials in a folder, each with the trial's number and the claim it is of."""
    if not folder.is_dir():
        return []
    found = [(path, _NAME.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    return [
        (path, int(match[1]), int(match[2]) if match[2] else None)
        for path, match in found
        if match
    ]
