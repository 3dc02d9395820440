"""The page of a trial's figures, and how a trial's note leads to it."""

from __future__ import annotations

import json
import re
import urllib.error
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dashboards import get, served

from optuna_study.cli import trial_figures
from optuna_study.paths import Workspace
from optuna_study.report.figures import losses
from optuna_study.store.queue import queue
from optuna_study.store.records import Artifact, End, EndKind

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.report.figures.study_data import StudyData


def test_the_pages_of_ended_trials_are_made_once_and_the_last_few_kept(
    stored_study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int | None] = []

    def page(data: StudyData) -> str:
        made.append(data.focus)
        return f"page of {data.focus}"

    monkeypatch.setattr(trial_figures, "trial_page", page)
    monkeypatch.setattr(trial_figures, "MOST_PAGES", 2)
    artifacts = Workspace(tmp_path).artifacts
    artifacts.mkdir(parents=True)
    kept = losses.Losses(1, 0, np.array([[2.0, 2.0, 2.0]], np.float32))
    for number in range(3):
        name = f"kept-{number}"
        (artifacts / name).write_bytes(losses.to_bytes(kept))
        named = (Artifact(name, losses.FILE, "application/octet-stream"),)
        claim = stored_study.start([0.7])
        queue.end(stored_study.store, claim, End(EndKind.COMPLETED, "all", 0.7, artifacts=named))
    stored_study.run([0.6])  # which left nothing
    stored_study.start([0.1])  # which still runs
    study_id = stored_study.study.study_id
    with served(stored_study, tmp_path) as base:
        for number in (0, 1, 0, 2, 0, 1, 3, 3, 4, 4):
            told = get(f"{base}figures/{study_id}/{number}")[0].decode()
            assert told == f"page of {number}"
    assert made == [0, 1, 2, 1, 3, 3, 4, 4], "2 took the place of 1"


@pytest.mark.slow
def test_a_trial_that_left_numbers_has_a_page_that_its_note_leads_to(
    stored_study: Any, tmp_path: Path
) -> None:
    from plotly.offline import get_plotlyjs

    stored_study.run([0.5, 0.6])
    kept = losses.Losses(1, 0, np.array([[2.0, 2.0, 2.0], [1.5, 1.5, 1.5]], np.float32))
    artifacts = Workspace(tmp_path).artifacts
    artifacts.mkdir(parents=True)
    (artifacts / "kept").write_bytes(losses.to_bytes(kept))
    named = (Artifact("kept", losses.FILE, "application/octet-stream"),)
    claim = stored_study.start([0.7])
    queue.end(stored_study.store, claim, End(EndKind.COMPLETED, "all", 0.7, artifacts=named))
    study_id = stored_study.study.study_id
    with served(stored_study, tmp_path) as base:
        details = json.loads(get(f"{base}api/studies/{study_id}")[0])
        notes = [trial["note"]["body"] for trial in details["trials"][:2]]
        assert notes == ["", f"[Figures of this trial](/figures/{study_id}/1)"]
        page = get(f"{base}figures/{study_id}/1")[0].decode()
        assert "<h1>Trial 1</h1>" in page
        names = re.findall(r' id="([^"]+)"', page.replace(get_plotlyjs(), ""))
        assert len(names) == len(set(names)) > 1
        assert "Training loss by step" in page
        assert "[2.0,1.5]" in page, "drawn from the numbers that were kept"
        assert "Worst mistakes" not in page, "none were kept"
        assert "Training loss by step" not in get(f"{base}figures/{study_id}/0")[0].decode()
        for missing in (f"{study_id}/99", "99/0"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(f"{base}figures/{missing}")
