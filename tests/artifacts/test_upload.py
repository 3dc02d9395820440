"""Files of a trial belong to it from its end on, and only those of the owner that ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta

from optuna_study.artifacts.upload import write_files
from optuna_study.errors import StaleClaimError
from optuna_study.paths import Workspace
from optuna_study.store.queue import queue
from optuna_study.store.records import Claim, End, EndKind

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_those_of_the_owner_that_ended_the_trial(
    stored_study: Any, tmp_path: Path
) -> None:
    store, study, workspace = stored_study.store, stored_study.study, Workspace(tmp_path / "files")
    before = stored_study.start([0.5])
    queue.release_owner(store, study, "host-1-001")
    after = queue.claim(store, study, "second")
    assert isinstance(after, Claim)
    written = {}
    for claim, text in ((after, b"right"), (before, b"wrong")):
        files = {"config.toml": text, "answers.png": text}
        written[claim.ordinal] = write_files(workspace, claim, files)

    def end(claim: Claim) -> None:
        artifacts = tuple(written[claim.ordinal])
        queue.end(store, claim, End(EndKind.COMPLETED, "done", 0.5, artifacts=artifacts))

    with pytest.raises(StaleClaimError):
        end(before)
    end(after)
    with pytest.raises(StaleClaimError):
        end(before)
    storage = optuna.storages.RDBStorage(stored_study.url)
    loaded = optuna.load_study(study_name="small", storage=storage)
    seen = {
        meta.filename: (meta.mimetype, workspace.artifact(meta.artifact_id).read_bytes())
        for meta in get_all_artifact_meta(loaded.trials[after.number], storage=storage)
    }
    assert seen == {
        "config.toml": ("text/plain", b"right"),
        "answers.png": ("image/png", b"right"),
    }
    storage.remove_session()
    storage.engine.dispose()
