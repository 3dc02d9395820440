from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, insert, select

from optuna_study.actions.delete import remove
from optuna_study.errors import NotFoundError, StaleClaimError
from optuna_study.store.queue import queue
from optuna_study.store.schema import (
    own_epochs,
    own_studies,
    own_trials,
    trial_system_attributes,
    trials,
)

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.records import Claim


def attach(stored_study: Any, claim: Claim, artifact: str) -> None:
    """Note an artifact of a trial, as Optuna's `upload_artifact` does."""
    with stored_study.store.write() as connection:
        connection.execute(
            insert(trial_system_attributes).values(
                trial_id=claim.trial_id,
                key=f"artifacts:{artifact}",
                value_json=json.dumps({"artifact_id": artifact, "filename": "curve.png"}),
            )
        )


def test_rows_pictures_and_folder_go_and_nothing_else(
    stored_study: Any, workspace: Workspace
) -> None:
    claim = stored_study.start([0.5])
    attach(stored_study, claim, "mine")
    attach(stored_study, claim, "../studies.db")
    workspace.artifacts.mkdir(parents=True)
    for name in ("mine", "others"):
        (workspace.artifacts / name).write_text("picture")
    workspace.database.write_text("the store")
    for uuid in (stored_study.study.uuid, "another"):
        path = workspace.checkpoint(uuid, 0, None)
        path.parent.mkdir(parents=True)
        path.write_text("checkpoint")

    removed = remove(stored_study.store, stored_study.study, workspace)
    assert (removed.trials, removed.files) == (2, 2)
    left = sorted(str(p.relative_to(workspace.root)) for p in workspace.root.rglob("*.*"))
    assert left == ["studies.db", "studies/another/checkpoints/trial-00000.pt"]
    assert [path.name for path in workspace.artifacts.iterdir()] == ["others"]
    with stored_study.store.read() as connection:
        for table in (trials, own_studies, own_trials, own_epochs):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0

    # Its workers notice at their next word.
    with pytest.raises(StaleClaimError):
        queue.renew(stored_study.store, claim)
    with pytest.raises(NotFoundError):
        queue.claim(stored_study.store, stored_study.study, "w")
