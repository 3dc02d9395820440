"""A SQLite file: how it is opened, where it may lie, and that it stays the file it was.

SQLite keeps what was written last in a log beside the file, named after the path that it was
opened by. So one file under two names has two logs, and breaks; and a connection goes on writing
to a file that was removed or replaced, which nobody will ever read.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

from optuna_study.errors import FolderError, StorageUrlError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

BUSY_SECONDS = 120  # 48 processes on one SQLite file wait for each other well below this
LEAVING_SECONDS = 1.0  # what a command waits for others when it empties the log

_NETWORK_FILE_SYSTEMS = """
    9p.vmware afs beegfs ceph cifs coda davfs fuse.ceph fuse.cephfs fuse.davfs2 fuse.gcsfuse
    fuse.glusterfs fuse.goofys fuse.juicefs fuse.mfs fuse.rclone fuse.s3fs fuse.sshfs gfs2
    glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2 smb2 smb3 smbfs
"""


def refuse_unfit(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Refuse a file whose locks or log do not work where it lies, or under this name.

    Raises:
        StorageUrlError: its folder lies on a network file system, it is mounted by itself, or it
            has a second name.
    """
    with suppress(OSError):  # none yet, or what opening it will say
        if path.stat().st_nlink > 1:
            raise StorageUrlError(
                f"{path}: this file has a second name (a hard link), and SQLite would keep a log "
                "for each",
                "remove the other name, or copy the file",
            )
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return  # no such table on this system: nothing to go by
    resolved = path.resolve()
    folder = f"{resolved.parent}/"
    longest, kind = "", ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[1]).rstrip("/") + "/"
        if point == f"{resolved}/":
            raise StorageUrlError(
                f"{path}: this file is mounted by itself, without the log that SQLite keeps "
                "beside it",
                "mount its folder",
            )
        if folder.startswith(point) and len(point) >= len(longest):  # a later mount covers
            longest, kind = point, fields[2]
    if kind in _NETWORK_FILE_SYSTEMS.split():
        raise StorageUrlError(
            f"{path}: SQLite does not work on a network file system ({kind})",
            "use a local folder, or PostgreSQL for several machines",
        )


def refuse_unwritable(path: Path) -> None:
    """Refuse a SQLite file that can only be read.

    Raises:
        FolderError: it, or its folder, cannot be written.
    """
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise FolderError(f"{path}: cannot be written", "choose another --storage")


@dataclass
class FileIdentity:
    """Which file a path led to when the store was first used."""

    path: Path
    _first: tuple[int, int] | None = None  # device and inode

    def check(self) -> None:
        """See that the path still leads to that file, and no second one does.

        Raises:
            StoreError: it was removed, moved or replaced, or has got a second name.
        """
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            if self._first is None:
                return  # it is just being made
            self._raise("was removed or moved away")
        self._first = self._first or (found.st_dev, found.st_ino)
        if self._first != (found.st_dev, found.st_ino):
            self._raise("was replaced by another file")
        if found.st_nlink > 1:
            self._raise("has got a second name (a hard link)")

    def _raise(self, what: str) -> NoReturn:
        raise StoreError(
            f"{self.path}: {what} while this command ran",
            "what it wrote last may be missing there",
        )


def sqlite_engine(path: Path, opener: Callable[[Path], sqlite3.Connection]) -> Engine:
    """An engine on a file."""
    # The URL only picks the dialect: a path may hold characters that a URL would read as its own.
    return create_engine("sqlite://", creator=lambda: opener(path), poolclass=QueuePool)


def open_writer(path: Path) -> sqlite3.Connection:
    """A connection that writes the file; it never makes one."""
    connection = _open(path, "mode=rw")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write the file.

    Raises:
        StoreError: on a read-only mount, a file whose log holds what it does not.
    """
    try:
        connection = _open(path, "mode=ro")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.OperationalError:
        if os.access(path.parent, os.W_OK) or not path.is_file():
            raise
        log = log_of(path)
        if log.is_file() and log.stat().st_size:
            raise StoreError(
                f"{path}: its log {log.name} holds what the file does not, and cannot be read in "
                "a folder that cannot be written",
                "copy both into one that can",
            ) from None
        # A WAL database on a read-only mount opens in no other way, and nobody can be writing it.
        return _open(path, "mode=ro&immutable=1")
    return connection


def log_of(path: Path) -> Path:
    """The log that SQLite keeps beside a file."""
    return path.with_name(f"{path.name}-wal")


def empty_log(path: Path) -> None:
    """Move the log into the file, which then is whole by itself; not where others still write."""
    if not path.is_file() or not log_of(path).exists():
        return
    with suppress(sqlite3.Error):  # the last one to leave does it
        connection = _open(path, "mode=rw", timeout=LEAVING_SECONDS)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()


def _open(path: Path, mode: str, timeout: float | None = None) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?{mode}",
        uri=True,
        timeout=BUSY_SECONDS if timeout is None else timeout,
        check_same_thread=False,
    )
