"""The clock that leases go by: a server's own, or for a SQLite file one that nobody sets.

A machine's wall clock may be set while trials run, and it goes on while a laptop sleeps. By it all
leases would run out at once, and workers would take trials from workers that are alive. The
seconds since the boot do neither, and all processes of a machine read the same ones. The first
write after a boot ties them to UTC, in the store, so that all agree; nobody can hold a lease of an
earlier boot any more, so that it ends those.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select, update

from optuna_study.store.schema import own_schema, own_trials

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

RESTART_GRACE = 30.0  # seconds for living workers to renew their leases: they try every ten
LEAST_JUMP = 5.0  # seconds; what a daemon that keeps the time corrects at once is below it


class Times(NamedTuple):
    """One moment by both clocks, in seconds."""

    utc: float  # for what is shown: when a trial began, when it ended
    lease: float  # what leases are counted from
    lost: float  # a lease until before this has run out


def boot_id(file: Path = Path("/proc/sys/kernel/random/boot_id")) -> str | None:
    """What names this boot of the machine; None where the system does not tell (not Linux)."""
    try:
        return file.read_text("ascii").strip()
    except OSError:
        return None


@dataclass
class LeaseClock:
    """UTC seconds as they were at the first write after the boot, and go on since then.

    Without a name of the boot they are those of the wall clock.
    """

    boot: str | None = field(default_factory=boot_id)
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    _origin: float | None = None  # UTC at which `steady` was zero, once read from the store

    def now(self, connection: Connection, *, writes: bool) -> float:
        """The time by which a lease has run out or has not."""
        if self.boot is None:
            return self.wall()
        if self._origin is None:
            query = select(own_schema.c.origin).where(own_schema.c.boot == self.boot)
            self._origin = connection.execute(query).scalar()
        if self._origin is not None:
            return self._origin + self.steady()
        if writes:
            self._tie(connection)  # not kept in mind: this transaction may yet be undone
        return self.wall()

    def _tie(self, connection: Connection) -> None:
        """Begin this boot: say when its seconds were zero, and end all leases before it."""
        before = connection.execute(select(own_schema.c.boot)).scalar()
        tied = {"boot": self.boot, "origin": self.wall() - self.steady()}
        connection.execute(update(own_schema).values(**tied))
        if before is not None:  # else leases of the wall clock, before this clock was kept
            held = own_trials.c.token.is_not(None)
            connection.execute(update(own_trials).where(held).values(lease_until=0.0))


def server_times(connection: Connection, grace: float = RESTART_GRACE) -> Times:
    """A PostgreSQL server's times.

    While it was down nobody could renew a lease: none has run out before its workers had the time
    to, `grace` seconds from its start.
    """
    now, started = connection.execute(
        select(
            func.extract("epoch", func.clock_timestamp()),
            func.extract("epoch", func.pg_postmaster_start_time()),
        )
    ).one()
    up = float(now) - float(started)
    return Times(float(now), float(now), float(now) if up > grace else 0.0)


@dataclass
class Jumps:
    """Notices that the wall clock was set, or stood still for this process while it slept."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._apart = self.wall() - self.steady()

    def look(self) -> float:
        """Seconds that it has jumped ahead since the last look; 0.0 when it has not."""
        apart = self.wall() - self.steady()
        jump = apart - self._apart
        if abs(jump) < LEAST_JUMP:
            return 0.0
        self._apart = apart
        return jump
