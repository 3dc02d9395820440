"""What a database says when it fails, as errors of ours: one line, no secret, the next step."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from optuna_study.errors import (
    FolderError,
    InTheWayError,
    OptunaStudyError,
    StoreError,
    StoreFullError,
    UnreachableError,
)
from optuna_study.store.engine.sqlstate import Kind, sort_state
from optuna_study.text import Advice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import URL

    from optuna_study.store.engine.address import StoreAddress

_SQLITE: Mapping[str, tuple[type[StoreError], str, Sequence[str | Sequence[str]]]] = {
    # What it says: what that means, and the next step.
    "database is locked": (
        UnreachableError,
        "is held by another process for too long",
        ["try again"],
    ),
    "disk I/O error": (
        UnreachableError,
        "cannot be read or written",
        ["is its disk full or failing?"],
    ),
    "unable to open database file": (
        StoreError,
        "cannot be opened",
        ["check the path and its permissions"],
    ),
    "file is not a database": (StoreError, "is no SQLite database", []),
    "database disk image is malformed": (StoreError, "is damaged", ["restore a copy"]),
    "no such table": (StoreError, "lacks a table", ["open it once with ", ["launch"]]),
}
# What a server, or PgBouncer before it, says when it does not let us in, with no SQLSTATE.
# The first that fits: libpq tries with and without encryption, and tells of both.
_ADVICE = {
    r"authentication failed|role .+ does not exist|no such (database|user)": (
        "check user, password and database"
    ),
    r"unsupported startup parameter": (
        "name it in ignore_startup_parameters of the server's pgbouncer.ini"
    ),
    r"starting up|shutting down|recovery mode|too many|are reserved|terminating"
    r"|not yet accepting connections|canceling authentication due to timeout"
    r"|server login has been failing|server_login_retry|query_wait_timeout"
    r"|no more connections allowed": "try again",
    r"^(?!.*(SSL encryption|\[local\])).*no pg_hba\.conf entry.*no encryption": (
        "it needs a line in the server's pg_hba.conf, or sslmode=require in the URL"
    ),
    r"no pg_hba\.conf entry": "it needs a line in the server's pg_hba.conf",
    r"FATAL": "see what the server says",
}
_REPORT = "its tables were changed by others, or this is a fault of optuna-study to be reported"
_STANDBY = (
    "try again, or name a server that takes writes: target_session_attrs=read-write in a URL with "
    "several hosts"
)


@contextmanager
def translate_failures(address: StoreAddress) -> Iterator[None]:
    """Turn the failures of the database at `address` into errors of ours.

    Raises:
        StoreFullError: no space left on the store's side.
        UnreachableError: it does not answer right now.
        FolderError: a SQLite file, or its folder, that cannot be written.
        StoreError: everything else a database refuses.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise translate(address, error) from error


def is_clash(error: StoreError) -> bool:
    """Whether the database refused a row for one that is there already."""
    return isinstance(error.__cause__, IntegrityError)


def translate(address: StoreAddress, error: BaseException) -> OptunaStudyError:
    """The error of ours for a failure of the database at `address`."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = address.without_secrets(str(cause))
    if isinstance(cause, sqlite3.Error):
        return _translate_sqlite(address, text)
    state = getattr(cause, "sqlstate", None) or ""
    if state:
        return _translate_state(address, state, text)
    if isinstance(error, PoolTimeoutError):
        return UnreachableError(f"{address}: the connection was in use for too long", "try again")
    if isinstance(error, PendingRollbackError):  # Optuna goes on with what a lost connection left
        return UnreachableError(f"{address}: the connection was lost", "try again")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or type(cause).__name__ == "OperationalError":
        return UnreachableError(f"{address}: cannot be reached ({text})", _advice(address, text))
    return StoreError(f"{address}: {text}")


def _translate_state(address: StoreAddress, state: str, text: str) -> OptunaStudyError:
    kind = sort_state(state)
    if kind is Kind.FULL:
        return StoreFullError(f"{address}: no space left on the server", "free some")
    if kind is Kind.IN_THE_WAY:
        return InTheWayError(
            f"{address}: another transaction was in the way ({text})", "try again"
        )
    if state == "57014":
        return UnreachableError(f"{address}: a statement took too long ({text})", "try again")
    if state == "25006":
        return UnreachableError(f"{address}: takes no writes for now ({text})", _STANDBY)
    if kind is Kind.PASSING:
        return UnreachableError(f"{address}: cannot be reached ({text})", _advice(address, text))
    if state == "42501":
        return StoreError(f"{address}: {text}", _right(address, text))
    if kind is Kind.OURS:
        return StoreError(f"{address}: {text} (SQLSTATE {state})", _REPORT)
    return StoreError(f"{address}: {text}")


def createdb(address: StoreAddress, *arguments: str) -> str:
    """The command that makes a database on the server of `address`, as its user, for a shell."""
    command, server = ["createdb"], address.server
    if server is not None:
        _, options = server.get_dialect()().create_connect_args(server)
        for flag, name in (("-h", "host"), ("-p", "port"), ("-U", "user")):
            if options.get(name):
                command += [flag, str(options[name])]
    return shlex.join([*command, *arguments])


def _advice(address: StoreAddress, text: str) -> str:
    """What to do about a PostgreSQL server that does not let us in; one that says why runs."""
    missing = re.search(r'database "(.+?)" does not exist', text)
    if missing:
        return f"check its name, or make it with `{createdb(address, missing[1])}`"
    if "permission denied for" in text:
        return _right(address, text)
    for said, advice in _ADVICE.items():
        if re.search(said, text):
            return advice
    return "is the server running?"


def _right(address: StoreAddress, text: str) -> str:
    """The statement that gives the user of the URL the right that is missing."""
    server = address.server
    name = None if server is None else server.username
    user = f'"{name}"' if name else "its user"
    denied = re.search(r"permission denied for (\w+) (\S+)", text)
    kind, what = (denied[1], denied[2]) if denied else ("", "")
    schema = "its schema" if server is None else _schema(server)
    grants = {
        "database": f"CONNECT ON DATABASE {what}",
        "schema": f"USAGE, CREATE ON SCHEMA {what}",
        "sequence": f"USAGE ON ALL SEQUENCES IN SCHEMA {schema}",
        "table": f"SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema}",
    }
    if kind not in grants:
        return f"let the owner do this, or give {user} the right to"
    return f"let the owner run: GRANT {grants[kind]} TO {user}"


def _schema(server: URL) -> str:
    """The schema of the store's tables, where the URL leaves no doubt which it is."""
    options = str(server.query.get("options", ""))
    if "search_path" not in options:
        return "public"
    only = re.search(r"search_path=(\w+)(?!\S)", options)
    return only[1] if only else "its schema"


def _translate_sqlite(address: StoreAddress, text: str) -> OptunaStudyError:
    stuck = "disk I/O error" in text or "unable to open database file" in text
    if "disk is full" in text or (stuck and _is_full(address)):
        return StoreFullError(f"{address}: no space left", "free some or move the store")
    # Without a log beside it, a file on a read-only mount does not even open for writing.
    if "readonly database" in text or ("unable to open" in text and _is_read_only(address)):
        return FolderError(f"{address}: cannot be written", "choose another --storage")
    for said, (kind, what, step) in _SQLITE.items():
        if said in text:
            where, quoted = f"{address}: {what}", f" ({text})"
            return kind(where, Advice(*step, quoted)) if step else kind(where + quoted)
    return StoreError(f"{address}: {text}")


def _is_read_only(address: StoreAddress) -> bool:
    """Whether the file is there, in a folder where SQLite cannot put its log."""
    path = address.path
    return path is not None and path.is_file() and not os.access(path.parent, os.W_OK)


def _is_full(address: StoreAddress) -> bool:
    """Whether no space is left, which SQLite does not say when its shared memory cannot grow."""
    if address.path is None:
        return False
    try:
        return os.statvfs(address.path.parent).f_bavail == 0
    except OSError:
        return False
