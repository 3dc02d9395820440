"""What a database says when it fails, as errors of ours: one line, no secret, the next step."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from optuna_study.errors import DiskFullError, FolderError, OptunaStudyError, StoreError
from optuna_study.store.urls import SQLiteFile, masked, parse, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

_SQLITE_SENTENCES = {
    "unable to open database file": "cannot be opened; check the path and its permissions",
    "file is not a database": "is no SQLite database",
    "database disk image is malformed": "is damaged; restore a copy",
    "database is locked": "is held by another process for too long; try again",
    "no such table": "lacks a table; open it once with `optuna-study launch`",
}


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the failures of the database at `url` into errors of ours.

    Raises:
        DiskFullError: no space left on the store's side.
        FolderError: a SQLite file, or its folder, that cannot be written.
        StoreError: everything else a database refuses.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise translation(url, error) from error


def is_clash(error: StoreError) -> bool:
    """Whether the database refused a row for one that is there already."""
    return isinstance(error.__cause__, IntegrityError)


def translation(url: str, error: BaseException) -> OptunaStudyError:
    """The error of ours for a failure of the database at `url`."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = without_secrets(url, str(cause))
    if isinstance(cause, sqlite3.Error):
        return _sqlite(url, text)
    if getattr(cause, "sqlstate", None) == "53100":
        return DiskFullError(f"{masked(url)}: no space left on the server; free some")
    if isinstance(error, PoolTimeoutError):
        return StoreError(f"{masked(url)}: the connection was in use for too long; try again")
    if getattr(cause, "sqlstate", None) == "57014":
        return StoreError(f"{masked(url)}: a statement took too long ({text}); try again")
    if isinstance(error, DBAPIError) and _unreachable(error, cause):
        return StoreError(f"{masked(url)}: cannot be reached ({text}); is the server running?")
    return StoreError(f"{masked(url)}: {text}")


def _unreachable(error: DBAPIError, cause: BaseException) -> bool:
    state = getattr(cause, "sqlstate", None)
    lost = state is None or state.startswith(("08", "57P", "53300"))
    return error.connection_invalidated or (type(cause).__name__ == "OperationalError" and lost)


def _sqlite(url: str, text: str) -> OptunaStudyError:
    if "disk is full" in text or ("disk I/O error" in text and _is_full(url)):
        return DiskFullError(f"{masked(url)}: no space left; free some or move the store")
    if "readonly database" in text:
        return FolderError(f"{masked(url)}: cannot be written; choose another --storage")
    for said, sentence in _SQLITE_SENTENCES.items():
        if said in text:
            return StoreError(f"{masked(url)}: {sentence} ({text})")
    return StoreError(f"{masked(url)}: {text}")


def _is_full(url: str) -> bool:
    """Whether no space is left, which SQLite does not say when its shared memory cannot grow."""
    place = parse(url)
    if not isinstance(place, SQLiteFile):
        return False
    try:
        left = os.statvfs(place.path.parent)
    except OSError:
        return False
    return left.f_bavail == 0
