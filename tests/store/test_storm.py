"""Workers killed at and at: short runs of the scripts whose full size stands in reliability.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[1] / "benchmarks"
SIZES = ("--trials=12", "--workers=4", "--epochs=20", "--kill-every=0.7", "--lease=1")

pytestmark = pytest.mark.slow


def run(script: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """The figures of a script: the last line of what it prints."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_nothing_is_lost_or_run_twice(kind: str, request: pytest.FixtureRequest) -> None:
    environment = {}
    if kind == "postgres":
        environment["OPTUNA_STUDY_TEST_POSTGRES"] = request.getfixturevalue("postgres_server")
    found = run("storm.py", "--store", kind, *SIZES, **environment)
    assert found["kills"] >= 1
    assert found["resumed"] >= 1
    assert found["failed_workers"] == 0
    assert found["ended"] == found["completed"] == 12
    assert found["running"] == found["waiting"] == found["missing"] == 0
    assert found["ends_written"] == 12
    assert found["ended_twice"] == 0
    assert found["as_undisturbed"] == 12
    # What was done before a death is not done again, but for the epochs since a checkpoint.
    assert found["epochs"] == 12 * 20 <= found["epochs_trained"] < 2 * 12 * 20
