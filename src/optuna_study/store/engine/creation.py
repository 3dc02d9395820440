"""Make a store: Optuna's tables by Optuna itself, then ours; or upgrade ours; under one lock.

Without the lock five of eight processes that come first at once fail, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from filelock import Timeout as LockTimeout
from sqlalchemy import Index, MetaData, insert, text, update
from sqlalchemy.schema import CreateColumn

from optuna_study.errors import StoreError
from optuna_study.paths import writing
from optuna_study.store.engine.connection import (
    check_versions,
    connect,
    versions,
)
from optuna_study.store.engine.failures import translate_failures
from optuna_study.store.engine.sqlite_file import BUSY_SECONDS, refuse_unwritable
from optuna_study.store.schema import (
    ADDED,
    OWN_VERSION,
    own_epochs,
    own_schema,
    own_tables,
    own_trials,
)
from optuna_study.store.studies import dashboard_notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna_study.store.engine.address import StoreAddress
    from optuna_study.store.engine.connection import Store

log = logging.getLogger(__name__)

_CREATION_LOCK = 0x6F707475_6E610001  # any number that others are unlikely to lock
_ASK_AGAIN_SECONDS = 0.1  # a store is made in half a second
HASHED_NOTES = 4  # the version of our tables from which on notes of ours are told from people's


def ensure(store: Store) -> None:
    """Make what is missing of the store, upgrade what is older; quick when nothing is.

    Raises:
        FolderError: a SQLite file where nothing can be written.
        DiskFullError: no space left for its folder.
        StoreFullError: no space left for it.
        StoreError: unreachable, not a database, or of another version.
    """
    if store.address.path is not None:
        folder = store.address.path.parent
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    if _complete(store):
        return
    with _locked(store):
        if _complete(store):
            return
        version = _own_version(store)
        if version is None:
            _create_optuna_tables(store)
            _create_own_tables(store)
        else:
            _upgrade(store, version)


def _own_version(store: Store) -> int | None:
    path = store.address.path
    return None if path is not None and not path.exists() else versions(store)[1]


def _create_own_tables(store: Store) -> None:
    with store.write(durable=True) as connection:
        own_tables.create_all(connection)
        for index in _indexes():
            index.create(connection)
        connection.execute(insert(own_schema).values(id=1, version=OWN_VERSION))


def _upgrade(store: Store, version: int) -> None:
    """Add what later versions have; workers of the older one that still run do not mind."""
    with store.write(durable=True) as connection:
        for step in range(version + 1, OWN_VERSION + 1):
            for column in ADDED[step]:
                added = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {added}")
        if version < HASHED_NOTES:
            dashboard_notes.adopt(connection)
        for index in _indexes():
            index.drop(connection, checkfirst=True)
            index.create(connection)
        connection.execute(update(own_schema).values(version=OWN_VERSION))
    log.info("%s: its tables are of version %d now", store.address, OWN_VERSION)


def _indexes() -> tuple[Index, Index]:
    """The indexes of our tables; made here, since a partial one imports PostgreSQL's dialect.

    Only held trials are in the first, so looking for lost ones costs the same after 10 and after
    10,000 trials. The second is for what the pruner reads: the newest values at one epoch.
    """
    trials, epochs = own_trials.to_metadata(MetaData()), own_epochs.to_metadata(MetaData())
    held = trials.c.token.is_not(None)
    columns = ("uuid", "epoch", "number", "value")  # the value so that the index is all it reads
    return (
        # By number, too: SQLite else takes the primary key to order them, and reads every trial.
        Index(
            "optuna_study_trials_held",
            *(trials.c.uuid, trials.c.number),
            sqlite_where=held,
            postgresql_where=held,
        ),
        Index("optuna_study_epochs_at", *(epochs.c[name] for name in columns)),
    )


def _complete(store: Store) -> bool:
    path = store.address.path
    if path is not None:
        if not path.exists():
            return False
        refuse_unwritable(path)
    revision, version = versions(store)
    if revision is not None:
        check_versions(store, revision, version)
    return revision is not None and version == OWN_VERSION


@contextmanager
def _locked(store: Store) -> Iterator[None]:
    if not isinstance(store.address.location, Path):
        with translate_failures(store.address), _advisory_lock(store.address):
            yield
        return
    path = store.address.location
    try:
        with writing(path.parent), FileLock(f"{path}.lock", timeout=BUSY_SECONDS):
            yield
    except LockTimeout as error:
        raise StoreError(
            f"{store.address}: another process has been making it for too long",
            f"remove {path}.lock when none is",
        ) from error


@contextmanager
def _advisory_lock(address: StoreAddress) -> Iterator[None]:
    """A lock of a transaction, not of a session: it also holds behind PgBouncer.

    Who does not get it lets the connection go and asks again: a few that wait inside transactions
    would take all of PgBouncer's connections from the one that makes the store.
    """
    take = text("SELECT pg_try_advisory_xact_lock(:key)").bindparams(key=_CREATION_LOCK)
    deadline = time.monotonic() + BUSY_SECONDS
    with closing(connect(address)) as other:
        while time.monotonic() < deadline:
            with other.engine.begin() as connection:
                if connection.execute(take).scalar_one():
                    yield
                    return
            time.sleep(_ASK_AGAIN_SECONDS)
    raise StoreError(f"{address}: another process has been making it for too long", "try again")


def _create_optuna_tables(store: Store) -> None:
    from optuna_study.store.engine import optuna_bridge

    with translate_failures(store.address):
        if store.address.path is not None:
            _create_sqlite_file(store.address.path)
        optuna_bridge.create_tables(store)


def _create_sqlite_file(path: Path) -> None:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
