"""Short runs of the scripts whose full size stands in docs/reliability.md."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from optuna_study.store.engine.clock import RESTART_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (
    "--trials=12",
    "--workers=4",
    "--epochs=20",
    "--kill-every=0.7",
    "--lease=2",
    "--confirm=2",
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_workers_killed_at_and_at_lose_nothing_and_run_nothing_twice(
    kind: str, figures: Callable[..., list[dict[str, Any]]], request: pytest.FixtureRequest
) -> None:
    environment = {}
    sizes = (*SIZES, "--prune") if kind == "sqlite" else SIZES
    if kind == "postgres":
        environment["OPTUNA_STUDY_TEST_POSTGRES"] = request.getfixturevalue("postgres_server")
    *_, found = figures("storm.py", "--store", kind, *sizes, **environment)
    assert found["kills"] >= 1
    assert found["resumed"] >= 1
    assert found["failed_workers"] == 0
    assert_all_ended_once(found)
    # Three deaths in a row without a new checkpoint may befall one, on a machine that is busy.
    done = found["completed"] + found["pruned"]
    assert done == found["ended"] - found["failed_by_strikes"] >= 12
    assert found["as_undisturbed"] == done
    assert kind == "sqlite" or found["pruned"] == 0
    # What was done before a death is not done again, but for the epochs since a checkpoint.
    assert found["epochs"] <= found["epochs_trained"] < 2 * found["ended"] * 20


def assert_all_ended_once(found: dict[str, Any]) -> None:
    """Twelve searched trials, and two finalists on two seeds each while both can win."""
    assert found["confirmation_runs"] in (3, 4)
    assert found["ended"] == found["ends_written"] == 12 + found["confirmation_runs"]
    assert found["running"] == found["waiting"] == found["missing"] == 0
    assert found["ended_twice"] == found["confirmed_twice"] == 0


def await_grace(server: str) -> None:
    """No lease runs out in a server's first seconds, so nothing would be lost by then."""
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        up = connection.exec_driver_sql(
            "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
        ).scalar_one()
    engine.dispose()
    time.sleep(max(0.0, RESTART_GRACE + 1 - float(up)))


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_workers_that_come_back_after_their_leases_change_nothing(
    kind: str, figures: Callable[..., list[dict[str, Any]]], request: pytest.FixtureRequest
) -> None:
    """In a fifth of all draws, and every now and then, a worker stands still past its lease."""
    environment = {}
    if kind == "postgres":
        server = environment["OPTUNA_STUDY_TEST_POSTGRES"] = request.getfixturevalue(
            "postgres_server"
        )
        await_grace(server)
    freezes = ("--freeze-every=1.5", "--freeze-draws=0.2", "--frozen-for=3", "--kill-every=0")
    *_, found = figures("storm.py", "--store", kind, *SIZES, *freezes, **environment)
    assert found["freezes"] >= 1  # how many fit in depends on how busy the machine is
    assert found["resumed"] >= 1
    assert found["failed_workers"] == 0
    assert_all_ended_once(found)
    done = found["completed"]
    assert done == found["ended"] - found["failed_by_strikes"] >= 12
    assert found["as_undisturbed"] == done


def test_forty_eight_processes_on_one_file_lose_nothing(
    figures: Callable[..., list[dict[str, Any]]],
) -> None:
    *_, found = figures("crowd.py", "--side=ours", "--each=1", "--epochs=6")
    assert found["states"] == {"COMPLETE": 48}
    assert found["with_all_epochs"] == 48
    assert found["failed_processes"] == 0
