"""Which failures of a database may pass; PostgreSQL's errors are psycopg's own classes."""

from __future__ import annotations

import sqlite3

import pytest
from psycopg import errors as psycopg_errors
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError, TimeoutError

from optuna_study.errors import InTheWayError, StoreError, StoreFullError, UnreachableError
from optuna_study.store.failures import translation

URL = "postgresql://ann:s3cret@db/x"


@pytest.mark.parametrize(
    "cause",
    [
        psycopg_errors.OperationalError("server closed the connection unexpectedly"),
        psycopg_errors.AdminShutdown("terminating connection due to administrator command"),
        psycopg_errors.CannotConnectNow("the database system is starting up"),
        psycopg_errors.TooManyConnections("sorry, too many clients already"),
        psycopg_errors.QueryCanceled("canceling statement due to statement timeout"),
    ],
)
def test_what_a_server_may_get_over_is_tried_again(cause: Exception) -> None:
    error = translation(URL, OperationalError("SELECT 1", {}, cause))
    assert type(error) is UnreachableError
    assert error.exit_code == 5
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("connection refused", "is the server running?"),
        ('FATAL: password authentication failed for user "ann"', "check user, password and data"),
        ("FATAL: the database system is starting up", "try again"),
        ('FATAL: database "a b" does not exist', "make it with `createdb 'a b'`"),
    ],
)
def test_a_server_that_lets_nobody_in_runs(said: str, advice: str) -> None:
    cause = psycopg_errors.OperationalError(said)
    error = translation(URL, OperationalError("", {}, cause))
    assert type(error) is UnreachableError
    assert f"cannot be reached ({said}); " in str(error)
    assert advice in str(error)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("table trials", "run: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pub"),
        ("sequence trials_trial_id_seq", "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "),
        ("language c", 'let the owner do this, or give "ann" the right to'),
    ],
)
def test_a_right_that_is_missing_is_named(said: str, advice: str) -> None:
    cause = psycopg_errors.InsufficientPrivilege(f"permission denied for {said}")
    error = translation(URL, DBAPIError("", {}, cause))
    assert type(error) is StoreError
    assert advice in str(error)


@pytest.mark.parametrize(
    "cause",
    [
        psycopg_errors.DeadlockDetected("deadlock detected"),
        psycopg_errors.SerializationFailure("could not serialize access"),
        psycopg_errors.LockNotAvailable("canceling statement due to lock timeout"),
    ],
)
def test_another_transaction_in_the_way_is_tried_again(cause: Exception) -> None:
    error = translation(URL, OperationalError("UPDATE", {}, cause))
    assert type(error) is InTheWayError
    assert isinstance(error, UnreachableError)


@pytest.mark.parametrize("error", [PendingRollbackError("invalid"), TimeoutError("pool")])
def test_so_is_what_a_lost_connection_leaves(error: Exception) -> None:
    assert type(translation(URL, error)) is UnreachableError


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("database or disk is full", StoreFullError),
        ("database is locked", UnreachableError),
        ("disk I/O error", UnreachableError),
        ("database disk image is malformed", StoreError),
        ("no such table: trials", StoreError),
    ],
)
def test_what_sqlite_says(said: str, kind: type[StoreError]) -> None:
    error = translation(
        "sqlite:////x.db", OperationalError("", {}, sqlite3.OperationalError(said))
    )
    assert type(error) is kind


def test_what_will_not_pass_is_not_tried_again() -> None:
    missing = psycopg_errors.UndefinedTable("no such relation")
    assert type(translation(URL, DBAPIError("SELECT", {}, missing))) is StoreError


def test_a_full_disk_of_a_server_is_a_full_store() -> None:
    error = translation(URL, OperationalError("", {}, psycopg_errors.DiskFull("no space left")))
    assert type(error) is StoreFullError
    assert error.exit_code == 1
