"""A launch whose real workers are killed; the script's full size stands in docs/reliability.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch_storm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.paths import Workspace

pytestmark = pytest.mark.slow
SMALL = ("--light", "--trials=2", "--epochs=8", "--kill-every=0.5", "--most-kills=2")


def test_a_launch_outlives_its_workers(tmp_path: Path, warm: Callable[[Path], Workspace]) -> None:
    warm(tmp_path / "storm")
    found = torch_storm.storm(tmp_path, torch_storm.parsed(SMALL))
    assert 1 <= found["kills"] <= 2  # no checkpoint lies in a run's first second
    assert found["resumed"] >= 1
    assert (
        found["ended"] == found["completed"] == found["ends_written"] == 3
    )  # 2 and one that confirms
    assert found["running"] == found["waiting"] == found["missing"] == found["ended_twice"] == 0
    assert found["as_undisturbed"] == 3
