"""Connections to a SQLite file or a PostgreSQL server, and what they require."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from weakref import finalize

from sqlalchemy import Connection, Engine, create_engine, event, func, select

from optuna_study.errors import StoreError
from optuna_study.store.engine.clock import LeaseClock, Times, server_times
from optuna_study.store.engine.failures import createdb, translate_failures
from optuna_study.store.engine.retry import Outage
from optuna_study.store.engine.sqlite_file import (
    FileIdentity,
    empty_log,
    open_reader,
    open_writer,
    sqlite_engine,
)
from optuna_study.store.schema import (
    OLDER_REVISIONS,
    OPTUNA_REVISION,
    OWN_VERSION,
    alembic_version,
    own_schema,
)
from optuna_study.text import Advice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.store.engine.address import StoreAddress

CONNECT_SECONDS = 5
SILENT_SECONDS = 20  # after which a server that acknowledges nothing is lost; TCP's own is 15 min
STATEMENT_SECONDS = 60
_ENCODINGS = ("UTF8", "SQL_ASCII")  # the second keeps bytes as they are


# The server's own settings are not heeded: some leave a transaction open for a day. What the
# URL says in `options` is the client's. In a start-up parameter PgBouncer would refuse ours.
_LIMIT = """
    SELECT set_config(name, %s, false) FROM pg_settings WHERE source <> 'client'
    AND name IN ('statement_timeout', 'idle_in_transaction_session_timeout')
"""
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


@dataclass(frozen=True, eq=False)
class Store:
    """An open store; threads may share it, forked processes may not.

    `clock` gives the seconds of both `Times` and is None for the store's own clocks: the server's
    on PostgreSQL, this machine's for a file.
    """

    address: StoreAddress
    engine: Engine  # writes; on PostgreSQL it reads, too
    reader: Engine
    clock: Callable[[], float] | None = field(default=None, repr=False)
    outage: Outage = field(default_factory=lambda: Outage("the store"), repr=False)
    lease_clock: LeaseClock = field(default_factory=LeaseClock, repr=False)
    identity: FileIdentity | None = field(default=None, repr=False)
    wrote: Event = field(default_factory=Event, repr=False)
    _ours: Event = field(default_factory=Event, init=False, repr=False)

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is one file."""
        return self.address.path is not None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; on SQLite one that cannot write.

        Raises:
            UnreachableError: it does not answer right now.
            StoreError: the store fails.
        """
        with self._watch(writing=False), self.reader.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection for reading on which every statement sees the store as the first saw it.

        Raises:
            StoreError: the store fails.
        """
        with translate_failures(self.address), self.reader.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """One write transaction, committed when all went well; `durable`: even for a power loss.

        Raises:
            StoreFullError: no space left.
            UnreachableError: it does not answer right now.
            FolderError: a SQLite file that cannot be written.
            StoreError: the store fails.
        """
        with self._watch(writing=True), self.engine.connect() as connection:
            if self.is_sqlite:
                level = "FULL" if durable else "NORMAL"
                connection.exec_driver_sql(f"PRAGMA synchronous={level}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    @contextmanager
    def _watch(self, *, writing: bool) -> Iterator[None]:
        if self.identity is not None:
            self.identity.check()
        if writing:
            self.wrote.set()
        with self.outage.watch(writing=writing):
            try:
                with translate_failures(self.address):
                    yield
            except StoreError:
                if self.identity is not None:
                    self.identity.check()  # of a file that went meanwhile SQLite says less
                raise

    def now(self, connection: Connection) -> float:
        """UTC seconds, by the server's clock or this machine's."""
        if self.clock is not None:
            return self.clock()
        if self.is_sqlite:
            return time.time()
        return float(
            connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one()
        )

    def times(self, connection: Connection) -> Times:
        """UTC seconds, and those of the one clock that all workers' leases go by."""
        if self.clock is None and not self.is_sqlite:
            return server_times(connection)
        now = lease = self.now(connection)
        if self.clock is None:
            lease = self.lease_clock.now(connection, writes=connection.engine is self.engine)
        return Times(now, lease, lease)

    @property
    def is_ours(self) -> bool:
        """Whether our tables are there; a store of plain Optuna has none until a launch."""
        if not self._ours.is_set():
            with self.read() as connection:
                if connection.dialect.has_table(connection, own_schema.name):
                    self._ours.set()
        return self._ours.is_set()

    def close(self) -> None:
        """Close every connection; a SQLite file that was written is then whole without its log."""
        path = self.address.path
        _leave(self.reader, self.engine, path.resolve() if path else None, self.wrote)


def connect(address: StoreAddress, clock: Callable[[], float] | None = None) -> Store:
    """A store's engines, before anything is known of what is behind them."""
    if isinstance(address.location, Path):
        path = address.location
        real = path.resolve()
        writer, reader = sqlite_engine(real, open_writer), sqlite_engine(real, open_reader)
        store = Store(address, writer, reader, clock, identity=FileIdentity(path))
        finalize(store, _leave, reader, writer, real, store.wrote)
        return store
    engine = create_engine(address.location, **postgresql_options(address))
    store = Store(address, engine, engine, clock)
    outage = store.outage  # what listens holds no store, which is closed once nobody does
    event.listen(engine, "connect", lambda made, _: _prepare_postgresql(made, address))
    event.listen(engine, "invalidate", lambda *_: outage.record_cut())
    finalize(store, _leave, engine, engine, None, store.wrote)
    return store


def _leave(reader: Engine, engine: Engine, path: Path | None, wrote: Event) -> None:
    """What closing a store does, and the end of a process that did not."""
    reader.dispose()
    engine.dispose()
    if path is not None and wrote.is_set():
        empty_log(path)


def require(store: Store, *, older: bool = False) -> None:
    """Refuse a store that is not there, is none, or is of another version; `older` may pass.

    Raises:
        StoreError: any of these.
    """
    if store.address.path is not None and not store.address.path.is_file():
        raise StoreError(
            f"{store.address}: there is no such file",
            Advice("check the path, or make the store with ", ["launch"]),
        )
    revision, version = versions(store)
    if revision is None:
        raise StoreError(f"{store.address}: holds no Optuna storage", "check --storage")
    check_versions(store, revision, version)
    if version is not None and version < OWN_VERSION and not older:
        raise StoreError(
            f"{store.address}: made by an older optuna-study (version {version} of its tables, "
            f"this one needs {OWN_VERSION})",
            f"`optuna-study doctor --fix --storage {store.address}` upgrades it in place, and so "
            "does the next launch",
        )


def versions(store: Store) -> tuple[str | None, int | None]:
    """The revision of Optuna's schema and the version of ours, None where there are none."""
    with store.read() as connection:
        has = connection.dialect.has_table
        revision = version = None
        if has(connection, alembic_version.name):
            revision = connection.execute(select(alembic_version.c.version_num)).scalar()
        if has(connection, own_schema.name):
            version = connection.execute(select(own_schema.c.version)).scalar()
        return revision, version


def check_versions(store: Store, revision: str, version: int | None) -> None:
    """Refuse schemas that this package does not know.

    Raises:
        StoreError: the store was made by an older Optuna, or by a newer one or a newer version of
            this package.
    """
    if revision in OLDER_REVISIONS:
        raise StoreError(
            f"{store.address}: made by an older Optuna (schema {revision})",
            f"back it up, then run `optuna storage upgrade --storage {store.address}`",
        )
    if revision != OPTUNA_REVISION:
        raise StoreError(
            f"{store.address}: made by a newer Optuna (schema {revision}, this one knows "
            f"{OPTUNA_REVISION})",
            "upgrade optuna-study",
        )
    if version is not None and version > OWN_VERSION:
        raise StoreError(
            f"{store.address}: made by a newer optuna-study (version {version} of its tables, "
            f"this one knows {OWN_VERSION})",
            "upgrade optuna-study",
        )


def postgresql_options(address: StoreAddress) -> dict[str, Any]:
    """How every PostgreSQL engine of ours connects; what its URL says itself goes before."""
    given = {} if address.server is None else address.server.query
    connecting = {
        "connect_timeout": CONNECT_SECONDS,
        "prepare_threshold": None,  # PgBouncer hands a server connection from client to client
        "application_name": "optuna-study",
        "client_encoding": "utf8",  # of a SQL_ASCII database psycopg would hand out bytes
        "tcp_user_timeout": SILENT_SECONDS * 1000,
        **_KEEPALIVE,
    }
    return {
        "pool_size": 1,
        "max_overflow": 0,
        "pool_pre_ping": True,
        "pool_timeout": STATEMENT_SECONDS,
        "connect_args": {name: value for name, value in connecting.items() if name not in given},
    }


def _prepare_postgresql(connection: Any, address: StoreAddress) -> None:
    """Refuse a database that cannot hold every text, and limit what statements may take.

    Raises:
        StoreError: the database has such an encoding.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in _ENCODINGS:
        connection.close()
        command = createdb(address, "-E", "UTF8", "-T", "template0", "NAME")
        raise StoreError(
            f"{address}: its encoding is {encoding}, which does not hold every text",
            f"make a database with `{command}`, and give that instead",
        )
    with connection.cursor() as cursor:
        cursor.execute(_LIMIT, (str(STATEMENT_SECONDS * 1000),))
    connection.commit()
