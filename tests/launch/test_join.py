"""What `worker` checks before it starts a process."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.errors import (
    DataError,
    NotFoundError,
    OtherVersionError,
    StoreError,
    UsageError,
)
from optuna_study.launch.join import join
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.launch.task import StudyTask
    from optuna_study.paths import Workspace


@pytest.fixture
def launched(tmp_path: Path, study_text: str, warm_workspace: Workspace) -> StudyTask:
    (tmp_path / "tiny.toml").write_text(study_text)
    request = LaunchRequest(str(tmp_path / "tiny.toml"), profile="cpu", workspace=warm_workspace)
    return prepare(replace(request, detach=True))


@pytest.mark.slow
def test_a_study_is_joined_from_another_folder(
    launched: StudyTask, warm: Callable[[Path], Workspace], tmp_path: Path
) -> None:
    elsewhere = warm(tmp_path / "elsewhere")
    address = launched.store.address
    joined = join("tiny", storage=address, workspace=elsewhere, workers=2, timeout=5.0)
    assert joined.study == launched.study
    assert (joined.timeout, joined.resumed, joined.notes) == (5.0, True, ())
    first, second = joined.workers
    assert (first.study, first.workspace, first.folder) == ("tiny@cpu", elsewhere.root, None)
    assert (first.device, first.forever) == ("cpu", False)
    assert first.name != second.name
    assert joined.log(first) == elsewhere.log(launched.study.uuid, first.name)


@pytest.mark.slow
def test_a_whole_store_is_joined_whatever_is_in_it(launched: StudyTask) -> None:
    joined = join(forever=True, workspace=launched.workspace, workers=1)
    assert joined.study is None
    [order] = joined.workers
    assert (order.study, order.forever) == (None, True)
    assert joined.log(order).match(f"studies/*/logs/{order.name}.log")


@pytest.mark.slow
def test_more_workers_than_any_machine_runs_are_refused_at_once(launched: StudyTask) -> None:
    with pytest.raises(UsageError, match="--workers 99999999999: give auto or a number from 1 to"):
        join(workspace=launched.workspace, workers=99999999999)


@pytest.mark.slow
def test_workers_auto_heeds_the_threads_of_the_studies(launched: StudyTask) -> None:
    many = join("tiny", workspace=launched.workspace).workers
    with sqlite3.connect(launched.workspace.database) as connection:
        connection.execute(
            "UPDATE optuna_study_studies SET definition = "
            "json_set(definition, '$.config.train.threads', 1000)"
        )
    one = join(workspace=launched.workspace).workers
    assert len(many) >= len(one) == 1


def test_a_server_without_a_store_gets_one(empty_postgres: str, workspace: Workspace) -> None:
    joined = join(forever=True, storage=StoreAddress.parse(empty_postgres), workspace=workspace)
    assert joined.study is None
    joined.store.close()
    with closing(open_store(empty_postgres)) as store:
        assert store.is_ours


WRONG: dict[str, tuple[dict[str, Any], dict[str, str], type[Exception], str]] = {
    "study": ({"study_name": "tyni"}, {}, NotFoundError, "known: tiny@cpu"),
    "workers": ({"workers": 0}, {}, UsageError, "--workers 0"),
    "timeout": ({"timeout": -1.0}, {}, UsageError, "--timeout -1"),
    "device": ({"device": "cuda:7"}, {}, UsageError, "cuda:7"),
    "pictures": ({}, {"fingerprint": "0123456789abcdef"}, DataError, "digits holds others"),
    "version": (
        {},
        {"environment": '{"optuna-study": "7.0"}'},
        OtherVersionError,
        r"optuna-study==7\.0\.\*",
    ),
    "definition": ({}, {"definition_hash": "x"}, OtherVersionError, "reads differently here"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_joined_is_said_at_once(launched: StudyTask, what: str) -> None:
    options, stored, error, said = WRONG[what]
    with sqlite3.connect(launched.workspace.database) as connection:
        for column, value in stored.items():
            connection.execute(f"UPDATE optuna_study_studies SET {column} = ?", (value,))
    with pytest.raises(error, match=said):
        join(**{"study_name": "tiny", "workspace": launched.workspace, **options})


def test_a_mistyped_file_is_not_made(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file"):
        join(storage=StoreAddress.of_file(tmp_path / "stduies.db"), workspace=workspace)
    assert not workspace.root.exists()
