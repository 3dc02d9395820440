"""Stores that the first version of our tables made, and their upgrade in place."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from sqlalchemy import inspect

from optuna_study.errors import StoreError
from optuna_study.report.formats import to_json
from optuna_study.report.rows import epoch_rows
from optuna_study.store.engine.connection import versions
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim
from optuna_study.store.schema import own_tables
from optuna_study.store.studies import studies

if TYPE_CHECKING:
    from pathlib import Path

# As the version made them, written out: what the code makes today is another matter.
VERSION_1 = (
    """
    CREATE TABLE optuna_study_schema (
        id INTEGER NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (id)
    )
    """,
    "INSERT INTO optuna_study_schema VALUES (1, 1)",
    """
    CREATE TABLE optuna_study_studies (
        uuid VARCHAR(36) NOT NULL, metric VARCHAR(64) NOT NULL, direction VARCHAR(8) NOT NULL,
        definition TEXT NOT NULL, definition_hash VARCHAR(64) NOT NULL, fingerprint TEXT NOT NULL,
        data_source TEXT NOT NULL, environment TEXT NOT NULL, seed BIGINT NOT NULL,
        budget INTEGER NOT NULL, state VARCHAR(16) NOT NULL, stop_after_failures INTEGER NOT NULL,
        failures_in_a_row INTEGER NOT NULL, settled INTEGER NOT NULL, settled_id INTEGER NOT NULL,
        created DOUBLE PRECISION NOT NULL, importances TEXT, importances_at DOUBLE PRECISION,
        importances_trials INTEGER, PRIMARY KEY (uuid)
    )
    """,
    """
    CREATE TABLE optuna_study_trials (
        uuid VARCHAR(36) NOT NULL, number INTEGER NOT NULL, trial_id INTEGER NOT NULL,
        baseline TEXT, baseline_group TEXT, fixed TEXT, seed BIGINT, token VARCHAR(32), owner TEXT,
        lease_until DOUBLE PRECISION, claims INTEGER NOT NULL, strikes INTEGER NOT NULL,
        checkpoint_epoch INTEGER NOT NULL, progressed BOOLEAN NOT NULL, epochs INTEGER NOT NULL,
        worked DOUBLE PRECISION NOT NULL, started DOUBLE PRECISION, completed DOUBLE PRECISION,
        touched DOUBLE PRECISION NOT NULL, end_kind VARCHAR(16), reason TEXT, traceback TEXT,
        resumed_elsewhere BOOLEAN NOT NULL, PRIMARY KEY (uuid, number)
    )
    """,
    """
    CREATE TABLE optuna_study_epochs (
        uuid VARCHAR(36) NOT NULL, number INTEGER NOT NULL, epoch INTEGER NOT NULL,
        value DOUBLE PRECISION, train_loss DOUBLE PRECISION, train_accuracy DOUBLE PRECISION,
        validation_loss DOUBLE PRECISION, validation_accuracy DOUBLE PRECISION,
        lr DOUBLE PRECISION, gradient_norm DOUBLE PRECISION, seconds DOUBLE PRECISION,
        PRIMARY KEY (uuid, number, epoch)
    )
    """,
    "CREATE INDEX optuna_study_trials_held ON optuna_study_trials (uuid) WHERE token IS NOT NULL",
    "CREATE INDEX optuna_study_epochs_at ON optuna_study_epochs (uuid, epoch, value)",
    """
    INSERT INTO optuna_study_studies VALUES (
        'u-1', 'validation_accuracy', 'maximize', '{}', 'abc', 'f1', 'digits', '{}', 7, 4,
        'active', 5, 1, 0, 0, 1800000000.0, NULL, NULL, NULL
    )
    """,
    """
    INSERT INTO optuna_study_trials VALUES (
        'u-1', 0, 1, 'relu', 'activation', NULL, 5, NULL, NULL, NULL, 0, 0, 0, FALSE, 0, 0.0, NULL,
        NULL, 1800000000.0, NULL, NULL, NULL, FALSE
    )
    """,
    "INSERT INTO optuna_study_epochs VALUES ('u-1', 0, 1, 0.5, 1, 0.5, 1, 0.5, 0.1, NULL, 2)",
    "INSERT INTO studies (study_id, study_name) VALUES (1, 'cats')",
    "INSERT INTO study_directions (direction, study_id, objective) VALUES ('MAXIMIZE', 1, 0)",
    """
    INSERT INTO study_system_attributes (study_id, key, value_json)
    VALUES (1, 'optuna_study:uuid', '"u-1"')
    """,
    "INSERT INTO trials (trial_id, number, study_id, state) VALUES (1, 0, 1, 'WAITING')",
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that version 1 has made, with a study of one waiting baseline."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'old.db'}"
    else:
        url = request.getfixturevalue("empty_postgres")
    store = open_store(url, create=True)
    with store.write() as connection:
        for table in own_tables.tables:
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for statement in VERSION_1:
            connection.exec_driver_sql(statement)
    store.close()
    return url


def columns(url: str) -> dict[str, dict[str, tuple[bool, Any]]]:
    """Every column of ours: whether it may be NULL, and its default."""
    store = open_store(url)
    found = {
        table: {
            column["name"]: (column["nullable"], re.sub(r"\W", "", column["default"] or ""))
            for column in inspect(store.engine).get_columns(table)
        }
        for table in own_tables.tables
    }
    store.close()
    return found


def indexes(url: str) -> dict[str, list[str | None]]:
    """The columns of every index of ours."""
    store = open_store(url)
    found = {
        str(index["name"]): index["column_names"]
        for table in own_tables.tables
        for index in inspect(store.engine).get_indexes(table)
    }
    store.close()
    return found


@pytest.mark.slow
def test_reading_an_older_store_says_how_to_upgrade_it(old_url: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(old_url)
    assert "made by an older optuna-study (version 1 of its tables, this one needs 7)" in str(
        caught.value
    )
    assert "`optuna-study doctor --fix --storage " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["create", "upgrade"])
@pytest.mark.slow
def test_an_older_store_is_upgraded_in_place(old_url: str, how: str, tmp_path: Path) -> None:
    store = open_store(old_url, create=how == "create", upgrade=how == "upgrade")
    assert versions(store)[1] == 7
    study = studies.load_study(store, "cats")
    assert (study.uuid, study.budget, study.priority) == ("u-1", 4, 0)
    [listed] = reads.list_studies(store)
    assert (listed.waiting, listed.priority) == (1, 0)
    [epoch] = reads.epochs(store, study, 0)
    assert (epoch.value, epoch.seconds) == (0.5, 2)
    [row] = json.loads(to_json(epoch_rows([epoch])))
    assert (row["log_loss"], row["macro_f1"], row["balanced_accuracy"]) == (None, None, None)
    claim = queue.claim(store, study, "w1")
    assert isinstance(claim, Claim)
    assert (claim.number, claim.baseline) == (0, "relu")
    studies.set_priority(store, study, 3)
    store.close()
    new = f"sqlite:///{tmp_path / 'new.db'}"
    open_store(new, create=True).close()
    assert columns(old_url) == columns(new)
    assert indexes(old_url) == indexes(new)
    again = open_store(old_url, create=True)
    assert studies.load_study(again, "cats").priority == 3
    again.close()


@pytest.mark.slow
def test_upgrading_leaves_a_store_of_plain_optuna_alone(tmp_path: Path, make_study: Any) -> None:
    path = tmp_path / "plain.db"
    plain = optuna.storages.RDBStorage(f"sqlite:///{path}")
    plain.remove_session()
    plain.engine.dispose()
    before = path.read_bytes()
    store = open_store(f"sqlite:///{path}", upgrade=True)
    assert studies.study_names(store) == []
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["plain.db"]
    made = open_store(f"sqlite:///{path}", create=True)
    make_study(made)
    assert studies.study_names(store) == ["cats@cpu"], "a worker that waits finds it, too"
    for each in (made, store):
        each.close()


def test_upgrading_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file"):
        open_store(f"sqlite:///{tmp_path / 'none.db'}", upgrade=True)
    assert list(tmp_path.iterdir()) == []
