"""Excluding, migrating and monitoring on PostgreSQL, where locks and statements differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.actions.exclude import exclude, include
from optuna_study.actions.migrate import carry_out, work_out
from optuna_study.paths import Workspace
from optuna_study.store.reads import aggregates, reads
from optuna_study.store.reads.status import study_statuses
from optuna_study.store.studies.studies import find_study, study_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.postgres
@pytest.mark.slow
def test_a_study_is_migrated_on_postgresql(
    store_file: Callable[..., Any], postgres_url: str, tmp_path: Path, study_file: str
) -> None:
    stored = store_file(url=postgres_url)
    store = stored.store
    stored.run([0.5])
    stored.run([0.6])
    parameters = {"activation": "relu", "lr": 0.01, "dropout": 0.1}
    for lr, value in ((0.01, 0.7), (0.09, 0.8)):
        stored.run([value], parameters={**parameters, "lr": lr})
    exclude(store, stored.study, [2], "by hand")
    include(store, stored.study, [2])
    exclude(store, stored.study, [1], "by hand")
    [status] = study_statuses(store)
    assert (status.left, status.workers, status.lost) == (2, 0, 0)
    path = tmp_path / "files" / "small.toml"
    path.write_text(
        study_file.replace('["relu", "tanh"]', '["elu", "relu", "tanh"]').replace(
            "dropout = {low = 0.0, high = 0.5}", "dropout = {low = 0.0, high = 0.6}"
        )
    )
    migration = work_out(store, stored.study, str(path))
    carry_out(store, Workspace(tmp_path / "storage"), migration)
    assert study_names(store) == ["small-before", "small"]
    study = find_study(store, "small")
    assert study is not None
    assert aggregates.excluded(store, study) == {1: "by hand"}
    assert [each.parameters for each in reads.trials(store, study)[2:]] == [
        parameters,
        {**parameters, "lr": 0.09},
    ]
    assert [each.left for each in study_statuses(store)] == [2, 2]
