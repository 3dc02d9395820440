"""Which failures of a database may pass; PostgreSQL's errors are psycopg's own classes."""

from __future__ import annotations

import sqlite3
from urllib.parse import quote

import pytest
from psycopg import errors as psycopg_errors
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError, TimeoutError

from optuna_study.errors import InTheWayError, StoreError, StoreFullError, UnreachableError
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.failures import translate
from optuna_study.store.engine.sqlstate import SORTED, Kind, sort_state

URL = "postgresql://ann:s3cret@db/x"
ADDRESS = StoreAddress.parse(URL)


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
    error = translate(ADDRESS, OperationalError("SELECT 1", {}, cause))
    assert type(error) is UnreachableError
    assert error.exit_code == 5
    assert "s3cret" not in str(error)


PASSING = "try again"
WRONG = "check user, password and database"
SETTING = "name it in ignore_startup_parameters of the server's pgbouncer.ini"
LINE = "it needs a line in the server's pg_hba.conf"
ENTRY = 'FATAL: no pg_hba.conf entry for host "10.0.0.7", user "ann", database "x", '


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("connection refused", "is the server running?"),
        ('FATAL: password authentication failed for user "ann"', WRONG),
        ('FATAL: role "ann" does not exist', WRONG),
        ("FATAL: no such database: x", WRONG),
        ("FATAL: no such user: ann", WRONG),
        ("FATAL: the database system is starting up", PASSING),
        ("FATAL: the database system is not yet accepting connections", PASSING),
        ("FATAL: canceling authentication due to timeout", PASSING),
        ("FATAL: sorry, too many clients already", PASSING),
        ("FATAL: server login has been failing, try again later (server_login_retry)", PASSING),
        ("FATAL: no more connections allowed (max_client_conn)", PASSING),
        ("query_wait_timeout", PASSING),  # in a session, where no FATAL stands before it
        ("FATAL: unsupported startup parameter: search_path", SETTING),
        ("FATAL: unsupported startup parameter in options: search_path", SETTING),
        (f"{ENTRY}no encryption", f"{LINE}, or sslmode=require in the URL"),
        (f"{ENTRY}SSL encryption", LINE),
        (f"{ENTRY}SSL encryption {ENTRY}no encryption", LINE),
        (f'FATAL: password authentication failed for user "ann" {ENTRY}no encryption', WRONG),
        ('FATAL: no pg_hba.conf entry for host "[local]", user "ann", no encryption', LINE),
        ('FATAL: role "ann" is not permitted to log in', "see what the server says"),
        ('FATAL: database "x" is not currently accepting connections', "see what the server says"),
    ],
)
def test_a_server_that_does_not_let_us_in_says_why(said: str, advice: str) -> None:
    error = translate(ADDRESS, OperationalError("", {}, psycopg_errors.OperationalError(said)))
    assert type(error) is UnreachableError
    assert str(error).endswith(f"cannot be reached ({said}); {advice}")


@pytest.mark.parametrize(
    ("url", "command"),
    [
        (URL, "createdb -h db -U ann 'a b'"),
        ("postgresql://ann%20b:s3cret@[::1]:5433/x", "createdb -h ::1 -p 5433 -U 'ann b' 'a b'"),
        ("postgresql:///x?host=/run/pg&port=5433", "createdb -h /run/pg -p 5433 'a b'"),
        ("postgresql:///x", "createdb 'a b'"),
    ],
)
def test_a_database_that_is_missing_can_be_made_on_its_server(url: str, command: str) -> None:
    cause = psycopg_errors.OperationalError('FATAL: database "a b" does not exist')
    error = translate(StoreAddress.parse(url), OperationalError("", {}, cause))
    assert str(error).endswith(f"; check its name, or make it with `{command}`")


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
    error = translate(ADDRESS, DBAPIError("", {}, cause))
    assert type(error) is StoreError
    assert advice in str(error)


@pytest.mark.parametrize(
    ("options", "schema"),
    [
        ("-c statement_timeout=9", "public"),
        ("-c search_path=studies -c statement_timeout=9", "studies"),
        ("-c search_path=studies,public", "its schema"),
        ('-c search_path="$user"', "its schema"),
    ],
)
def test_a_right_is_given_in_the_schema_of_the_url(options: str, schema: str) -> None:
    cause = psycopg_errors.InsufficientPrivilege("permission denied for table trials")
    error = translate(
        StoreAddress.parse(f"{URL}?options={quote(options)}"), DBAPIError("", {}, cause)
    )
    assert f'IN SCHEMA {schema} TO "ann"' in str(error)


@pytest.mark.parametrize(
    "cause",
    [
        psycopg_errors.DeadlockDetected("deadlock detected"),
        psycopg_errors.SerializationFailure("could not serialize access"),
        psycopg_errors.LockNotAvailable("canceling statement due to lock timeout"),
    ],
)
def test_another_transaction_in_the_way_is_tried_again(cause: Exception) -> None:
    error = translate(ADDRESS, OperationalError("UPDATE", {}, cause))
    assert type(error) is InTheWayError
    assert isinstance(error, UnreachableError)


@pytest.mark.parametrize("error", [PendingRollbackError("invalid"), TimeoutError("pool")])
def test_so_is_what_a_lost_connection_leaves(error: Exception) -> None:
    assert type(translate(ADDRESS, error)) is UnreachableError


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
    error = translate(
        StoreAddress.parse("sqlite:////x.db"),
        OperationalError("", {}, sqlite3.OperationalError(said)),
    )
    assert type(error) is kind


def test_what_will_not_pass_is_not_tried_again() -> None:
    missing = psycopg_errors.UndefinedTable("no such relation")
    assert type(translate(ADDRESS, DBAPIError("SELECT", {}, missing))) is StoreError


def test_a_server_that_takes_no_writes_for_now_is_tried_again() -> None:
    said = "cannot execute UPDATE in a read-only transaction"
    error = translate(ADDRESS, DBAPIError("", {}, psycopg_errors.ReadOnlySqlTransaction(said)))
    assert type(error) is UnreachableError
    assert "target_session_attrs=read-write" in str(error)


def test_every_class_of_sqlstate_is_sorted() -> None:
    """All that psycopg knows; which of them are tried again, by the name of the state."""
    known = {
        error.sqlstate: error
        for error in vars(psycopg_errors).values()
        if isinstance(error, type) and issubclass(error, psycopg_errors.Error) and error.sqlstate
    }
    assert len(known) > 200
    assert {state[:2] for state in known} <= set(SORTED)
    tried = {state for state in known if sort_state(state) not in (Kind.FOR_GOOD, Kind.OURS)}
    assert {state for state in tried if state[:2] not in ("08", "40", "53", "57", "72")} == {
        *("25006", "25P03", "25P04", "55006", "55P03", "58030")
    }
    for state, error in known.items():
        found = translate(ADDRESS, DBAPIError("", {}, error("said")))
        assert isinstance(found, UnreachableError) == (state in tried), state


def test_a_full_disk_of_a_server_is_a_full_store() -> None:
    error = translate(ADDRESS, OperationalError("", {}, psycopg_errors.DiskFull("no space left")))
    assert type(error) is StoreFullError
    assert error.exit_code == 1
