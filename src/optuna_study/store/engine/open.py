"""Open a store: the file or server that holds Optuna's tables and ours.

SQLite: two engines, one whose connections can only read and one that writes; WAL, a busy time-out
of two minutes. A write begins with BEGIN IMMEDIATE on its own connection alone, since on every
connection it would make readers queue. PostgreSQL: one engine with one connection, which Optuna's
storage shares.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.connection import Store, connect, require
from optuna_study.store.engine.sqlite_file import refuse_unfit

if TYPE_CHECKING:
    from collections.abc import Callable


def open_store(
    address: StoreAddress | str,
    *,
    create: bool = False,
    upgrade: bool = False,
    clock: Callable[[], float] | None = None,
    mounts: Path = Path("/proc/mounts"),
) -> Store:
    """Open the store at an address, which may be a URL; with `create` make what is missing of it.

    Creating upgrades our tables of an earlier version, too; `upgrade` does that alone, and leaves
    a store of plain Optuna as it is.

    Raises:
        StorageUrlError: no URL of a store, or a SQLite file that cannot be one where it lies.
        FolderError: a SQLite store to be made where nothing can be written.
        StoreError: no such store, unreachable, not Optuna's, or of another version.
    """
    if isinstance(address, str):
        address = StoreAddress.parse(address)
    if address.path is not None:
        refuse_unfit(address.path, mounts)
    store = connect(address, clock)
    try:
        if not create:
            require(store, older=upgrade)
        if create or (upgrade and store.is_ours):
            from optuna_study.store.engine import creation

            creation.ensure(store)
    except BaseException:
        store.close()
        raise
    return store
