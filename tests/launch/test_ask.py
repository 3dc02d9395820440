from __future__ import annotations

from multiprocessing import connection

import pytest

from optuna_study.errors import OptunaStudyError
from optuna_study.launch import ask, worker_count
from optuna_study.paths import Workspace


def test_a_device_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its launch goes on with one worker, as where a probe fails."""
    ended: list[str] = []

    class Hangs:
        def terminate(self) -> None:
            ended.append("terminated")

        def join(self) -> None:
            ended.append("joined")

        def close(self) -> None:
            ended.append("closed")

    ours, theirs = connection.Pipe()
    monkeypatch.setattr(ask, "fork", lambda *_: (Hangs(), ours))
    monkeypatch.setattr(ask, "PROBE_SECONDS", 0.01)
    with theirs, pytest.raises(OptunaStudyError, match="no answer"):
        worker_count.measure(1, None, None, Workspace.locate("."), "cuda:0")  # type: ignore[arg-type]
    assert ended == ["terminated", "joined", "closed"]
