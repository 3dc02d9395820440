"""A copy of a study is a backup: it has everything, and can be put back."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.paths import Workspace
from optuna_study.store.queue import queue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VOLATILE = ("uuid", "name", "seconds_left")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
@pytest.mark.slow
def test_a_copy_is_put_back_after_the_store_is_gone(
    kind: str,
    stored_study: Any,
    cli: Callable[..., Any],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    store, study, path = stored_study.store, stored_study.study, stored_study.store.address.path
    stored_study.run([0.25, 0.5])
    running = stored_study.start([0.75])
    home, backup = Workspace(tmp_path / "home"), Workspace(tmp_path / "backup")
    checkpoint = home.checkpoint(study.uuid, running.number, running.ordinal)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("epoch 1")
    queue.record_checkpoint(store, running, 1)
    to = f"sqlite:///{backup.root}/studies.db"
    if kind == "postgres":
        to = request.getfixturevalue("postgres_url")
    here = ("--storage", stored_study.url, "--artifacts", str(home.root))
    there = ("--storage", to, "--artifacts", str(backup.root))

    def copy(place: tuple[str, ...], url: str, workspace: Workspace) -> None:
        target = ("--to", url, "--to-artifacts", str(workspace.root))
        assert cli("copy", "small", *place, *target).code == 0

    def shown(place: tuple[str, ...]) -> tuple[Any, Any]:
        summary = json.loads(cli("show", "small", *place, "-f", "json").out)
        trials = json.loads(cli("trials", "small", *place, "-f", "json").out)
        return {key: summary[key] for key in summary.keys() - set(VOLATILE)}, trials

    copy(here, to, backup)
    kept = shown(there)
    assert (kept[0]["ended"], kept[0]["waiting"]) == (1, 1)
    store.close()
    path.unlink()
    shutil.rmtree(home.root)
    copy(there, stored_study.url, home)
    assert shown(here) == kept
    [restored] = home.root.rglob(checkpoint.name)
    assert restored.read_text() == "epoch 1"
