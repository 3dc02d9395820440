"""Whose checkpoint a trial resumes from, and which files of a study stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.artifacts.retention import is_among_best, remove_superseded, take_over
from optuna_study.paths import Workspace
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, End, EndKind
from optuna_study.store.studies.exclusion import exclude

if TYPE_CHECKING:
    from pathlib import Path


def _claim(stored: Any, owner: str) -> Claim:
    claim = queue.claim(stored.store, stored.study, owner)
    assert isinstance(claim, Claim)
    return claim


def test_a_former_owner_s_checkpoint_replaces_nobody_s(stored_study: Any, tmp_path: Path) -> None:
    store, study, workspace = stored_study.store, stored_study.study, Workspace(tmp_path / "files")

    def file_of(claim: Claim) -> Path:
        path = workspace.checkpoint(study.uuid, claim.number, claim.ordinal)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    first = _claim(stored_study, "first")
    file_of(first).write_text("epoch 2")
    queue.record_checkpoint(store, first, 2)
    queue.release_owner(store, study, "first")
    second = _claim(stored_study, "second")
    assert second.checkpoint_claim == 1
    take_over(workspace, second)
    queue.rewind(store, second, 2)
    file_of(first).write_text("epoch 9, by an owner that has lost the trial")
    queue.release_owner(store, study, "second")
    third = _claim(stored_study, "third")
    take_over(workspace, third)
    assert file_of(third).read_text() == "epoch 2"

    remove_superseded(store, study, workspace)
    left = {path.name for path in file_of(third).parent.iterdir()}
    assert left == {file_of(second).name, file_of(third).name}
    model = workspace.kept_model(study.uuid, 0, 3)
    model.parent.mkdir()
    for ordinal in (2, 3):
        workspace.kept_model(study.uuid, 0, ordinal).write_text("weights")
    queue.end(store, third, End(EndKind.COMPLETED, "done", 0.5))
    remove_superseded(store, study, workspace)
    assert list(file_of(third).parent.iterdir()) == []
    assert list(model.parent.iterdir()) == [model]


def test_a_checkpoint_of_the_first_version_is_resumed_from(
    stored_study: Any, tmp_path: Path
) -> None:
    store, study, workspace = stored_study.store, stored_study.study, Workspace(tmp_path / "files")
    old = workspace.checkpoint(study.uuid, 0, None)
    old.parent.mkdir(parents=True)
    old.write_text("epoch 2")
    first = _claim(stored_study, "first")
    queue.release(store, first, "stopped")
    second = _claim(stored_study, "second")
    assert second.checkpoint_claim is None
    take_over(workspace, second)
    assert workspace.checkpoint(study.uuid, 0, 2).read_text() == "epoch 2"


def test_of_two_objectives_the_front_keeps_its_models(weighed_study: Any, tmp_path: Path) -> None:
    store, study, workspace = weighed_study.store, weighed_study.study, Workspace(tmp_path)
    assert is_among_best(store, study, 0.1, 50.0, baseline=False), "none is smaller"
    assert is_among_best(store, study, 0.6, 9500.0, baseline=False), "the third best searched one"
    assert not is_among_best(store, study, 0.4, 9500.0, baseline=False)
    models = [workspace.kept_model(study.uuid, number, 1) for number in range(6)]
    models[0].parent.mkdir(parents=True)
    for path in models:
        path.write_text("weights")
    remove_superseded(store, study, workspace)
    kept = [number for number, path in enumerate(models) if path.exists()]
    assert kept == [0, 1, 2, 3, 4]  # the best baseline, the cheapest, the best three
    store.close()


def test_every_finalist_keeps_its_model_however_good_the_baselines_are(
    stored_study: Any, tmp_path: Path
) -> None:
    store, study, workspace = stored_study.store, stored_study.study, Workspace(tmp_path / "files")
    values = (0.9, 0.9, 0.5, 0.6, 0.7, 0.8)  # of the study's two baselines, then of its search
    for value in values:
        claim = _claim(stored_study, "one")
        baseline = claim.baseline is not None
        if is_among_best(store, study, value, None, baseline=baseline):
            path = workspace.kept_model(study.uuid, claim.number, claim.ordinal)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("weights")
        queue.end(store, claim, End(EndKind.COMPLETED, "done", value))
        remove_superseded(store, study, workspace)
    models = workspace.kept_model(study.uuid, 0, None).parent
    kept = sorted(int(each.stem.split("-")[1]) for each in models.iterdir())
    assert [bool(reads.trial(store, study, number).baseline) for number in (0, 1)] == [True, True]
    assert kept == [0, 3, 4, 5]
    exclude(store, study, [5], "wrong pictures")
    remove_superseded(store, study, workspace)
    assert sorted(int(each.stem.split("-")[1]) for each in models.iterdir()) == kept
