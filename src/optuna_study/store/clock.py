"""The clock that leases on a SQLite file go by: one of this machine that nobody sets.

A machine's wall clock may be set while trials run, and it goes on while a laptop sleeps. By it all
leases would run out at once, and workers would take trials from workers that are alive. The
seconds since the boot do neither, and all processes of a machine read the same ones. The first
write after a boot ties them to UTC, in the store, so that all agree, and so that the leases of an
earlier boot, which nobody can hold any more, lie in the past.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select, update

from optuna_study.store.schema import own_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

LEAST_JUMP = 5.0  # seconds; what a daemon that keeps the time corrects at once is below it


class Times(NamedTuple):
    """One moment by both clocks, in seconds."""

    utc: float  # for what is shown: when a trial began, when it ended
    lease: float  # for whether a lease has run out


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
            # Not kept in mind: this transaction may yet be undone.
            tied = {"boot": self.boot, "origin": self.wall() - self.steady()}
            connection.execute(update(own_schema).values(**tied))
        return self.wall()


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
