from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from optuna_study.store.engine.clock import Jumps, LeaseClock, boot_id, server_times
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim
from optuna_study.store.schema import own_schema

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.store.engine.connection import Store

HOUR = 3600.0


class Machine:
    """A machine's clocks: one that people set, and the seconds since its boot."""

    def __init__(self) -> None:
        self.wall, self.steady, self.boot = 1_800_000_000.0, 500.0, "boot-1"

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def reboot(self, *, wall: float) -> None:
        self.wall, self.steady, self.boot = wall, 20.0, "boot-2"

    def process(self, store: Store) -> Store:
        """The store as a process that starts now opens it."""
        clock = LeaseClock(self.boot, lambda: self.wall, lambda: self.steady)
        return dataclasses.replace(store, clock=None, lease_clock=clock)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def times(store: Store) -> float:
    with store.read() as connection:
        return store.times(connection).lease


def claim(store: Store, study: Any, owner: str) -> Claim:
    found = queue.claim(store, study, owner, lease=60)
    assert isinstance(found, Claim)
    return found


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
@pytest.mark.parametrize("when", ["running", "started afterwards"])
def test_a_clock_that_is_set_takes_no_trial_from_a_living_worker(
    sqlite_store: Store, make_study: Any, machine: Machine, jump: float, when: str
) -> None:
    study = make_study(sqlite_store)
    first, second = machine.process(sqlite_store), machine.process(sqlite_store)
    held = claim(first, study, "w1")
    assert claim(second, study, "w2").number == 1
    machine.wall += jump
    machine.pass_by(30)
    if when == "started afterwards":
        second = machine.process(sqlite_store)
    assert queue.reap(second, study) == []
    assert claim(second, study, "w2").number == 2
    queue.renew(first, held)
    assert [trial.strikes for trial in reads.trials(second, study)] == [0, 0, 0]
    machine.pass_by(61)
    assert queue.reap(second, study) == [0, 1, 2]


def test_a_laptop_that_slept_takes_no_trial_from_a_living_worker(
    sqlite_store: Store, make_study: Any, machine: Machine
) -> None:
    study = make_study(sqlite_store)
    first, second = machine.process(sqlite_store), machine.process(sqlite_store)
    claim(first, study, "w1")
    machine.wall += 8 * HOUR  # what counts the seconds stands still meanwhile
    assert queue.reap(second, study) == []


@pytest.mark.parametrize("passed", [HOUR, 1.0, -HOUR])
def test_what_was_held_before_a_reboot_goes_back_at_once(
    sqlite_store: Store, make_study: Any, machine: Machine, passed: float
) -> None:
    study = make_study(sqlite_store)
    claim(machine.process(sqlite_store), study, "w1")
    machine.reboot(wall=machine.wall + passed)  # a machine without a clock of its own goes back
    store = machine.process(sqlite_store)
    assert claim(store, study, "w2").number == 0
    machine.pass_by(59)
    assert queue.reap(machine.process(sqlite_store), study) == []


def test_reading_before_the_first_write_of_a_boot_goes_by_the_wall_clock(
    sqlite_store: Store, make_study: Any, machine: Machine
) -> None:
    study = make_study(sqlite_store)
    reader = machine.process(sqlite_store)
    assert times(reader) == machine.wall
    before = machine.wall
    claim(machine.process(sqlite_store), study, "w1")
    machine.wall += HOUR
    assert times(reader) == before


def test_what_a_transaction_that_was_undone_agreed_on_is_forgotten(
    sqlite_store: Store, machine: Machine
) -> None:
    first, second = machine.process(sqlite_store), machine.process(sqlite_store)
    with pytest.raises(ZeroDivisionError), first.write() as connection:
        assert first.times(connection).lease / 0
    machine.wall += HOUR
    for store in (second, first):
        with store.write() as connection:
            assert store.times(connection).lease == machine.wall
    machine.wall += HOUR
    assert times(first) == times(second) == machine.wall - HOUR


def test_a_system_that_does_not_name_its_boots_has_the_wall_clock_alone(
    sqlite_store: Store, machine: Machine
) -> None:
    machine.boot = None  # type: ignore[assignment]
    store = machine.process(sqlite_store)
    for _ in range(2):
        machine.wall += HOUR
        with store.write() as connection:
            assert store.times(connection).lease == machine.wall
            assert connection.execute(select(own_schema.c.boot)).scalar() is None


@pytest.mark.slow
@pytest.mark.postgres
def test_a_servers_leases_go_by_its_clock(postgres_url: str, machine: Machine) -> None:
    store = machine.process(open_store(postgres_url))
    with store.write() as connection:
        times = store.times(connection)
        assert times.lease == times.utc
        assert server_times(connection, grace=0.0).lost > times.utc - HOUR
        assert connection.execute(select(own_schema.c.boot)).scalar() is None
    store.close()


@pytest.mark.postgres
def test_while_a_server_was_down_no_lease_ran_out(postgres_url: str) -> None:
    """Whoever comes first after its start must not take the trials of those who come second."""
    store = open_store(postgres_url)
    with store.read() as connection:
        assert server_times(connection, grace=1e9).lost == 0.0
    store.close()


def test_a_boot_has_a_name_where_the_system_tells(tmp_path: Path) -> None:
    file = tmp_path / "boot_id"
    assert boot_id(file) is None
    file.write_text("5f3c\n")
    assert boot_id(file) == "5f3c"


def test_jumps_are_told_once_and_corrections_of_a_second_not_at_all() -> None:
    machine = Machine()
    jumps = Jumps(lambda: machine.wall, lambda: machine.steady)
    machine.pass_by(HOUR)
    assert jumps.look() == 0
    machine.wall += 1
    assert jumps.look() == 0
    machine.wall += HOUR
    assert jumps.look() == pytest.approx(HOUR + 1)
    assert jumps.look() == 0
    machine.wall -= HOUR
    assert jumps.look() == pytest.approx(-HOUR)
