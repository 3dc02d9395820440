"""The file in which a run's loss by step is kept, and the figure of it."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from optuna_study.paths import Workspace
from optuna_study.report.figures.losses import Losses, find_losses, from_bytes, to_bytes
from optuna_study.store.reads import reads

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read(kept_losses: Losses) -> None:
    read = from_bytes(to_bytes(kept_losses))
    assert (read.steps, read.before) == (2, 10)
    assert np.array_equal(read.points, kept_losses.points)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("points", np.zeros((0, 3))),
        ("points", np.zeros((4, 2))),
        ("points", np.zeros((70_000, 3))),
        ("points", np.array([["a", "b", "c"]])),
        ("steps", np.array([0])),
        ("before", np.array([-1])),
        ("before", np.array([1, 2])),
    ],
)
def test_arrays_that_cannot_be_are_refused(kept_losses: Losses, name: str, array: Any) -> None:
    with np.load(io.BytesIO(to_bytes(kept_losses))) as stored:
        arrays = {each: stored[each] for each in stored.files}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{**arrays, name: array})
    with pytest.raises(ValueError, match="cannot be"):
        from_bytes(buffer.getvalue())


def test_few_points_are_drawn_of_many(kept_losses: Losses) -> None:
    steps, rows = kept_losses.drawn(400)
    assert steps == [11.5, 13.5, 15.5], "in the middle of steps 11 and 12, and so on"
    assert rows.tolist() == kept_losses.points.tolist()
    steps, rows = kept_losses.drawn(2)
    assert steps == [12.5, 15.5]
    assert rows.tolist() == [[2.0, 0.5, 3.5], [0.5, 0.25, 0.75]]
    long = dataclasses.replace(kept_losses, points=np.zeros((2047, 3), np.float32))
    assert len(long.drawn(400)[0]) <= 400


def test_a_trials_losses_are_found_where_its_files_are(
    finished_study: Any, finished_workspace: Workspace, tmp_path: Path
) -> None:
    store = finished_study.store
    first, best = (reads.trial(store, finished_study.study, number) for number in (0, 5))
    found = find_losses(store, finished_workspace, best.trial_id)
    assert found is not None
    assert found.points[:, 0].tolist() == [3.0, 1.0, 0.5]
    assert find_losses(store, finished_workspace, first.trial_id) is None
    elsewhere = Workspace(tmp_path)
    elsewhere.artifacts.mkdir()
    elsewhere.artifact("losses").write_bytes(b"damaged")
    assert find_losses(store, elsewhere, best.trial_id) is None
