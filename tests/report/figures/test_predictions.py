"""The file in which a trial's answers are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from optuna_study.paths import Workspace
from optuna_study.report.figures.predictions import (
    Predictions,
    find_predictions,
    from_bytes,
    to_bytes,
)
from optuna_study.store.reads import reads

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read(predictions: Predictions) -> None:
    read = from_bytes(to_bytes(predictions))
    assert read.classes == list(predictions.classes)
    assert read.confusion.tolist() == predictions.confusion.tolist()
    for stored, given in ((read.mistakes, predictions.mistakes), (read.plane, predictions.plane)):
        assert stored is not None
        assert given is not None
        for name in vars(given):
            assert np.array_equal(getattr(stored, name), getattr(given, name)), name
    bare = from_bytes(to_bytes(Predictions(["a"], np.array([[3]]))))
    assert (bare.mistakes, bare.plane) == (None, None)


def test_one_trial_writes_the_same_file_twice(predictions: Predictions) -> None:
    assert to_bytes(predictions) == to_bytes(predictions)


@pytest.mark.parametrize("length", [0, 10, 200])
def test_half_a_file_is_refused(predictions: Predictions, length: int) -> None:
    with pytest.raises(ValueError, match="not a file of predictions"):
        from_bytes(to_bytes(predictions)[:length])


def test_a_trials_answers_are_found_where_its_files_are(
    finished_study: Any, finished_workspace: Workspace, tmp_path: Path
) -> None:
    store, workspace = finished_study.store, finished_workspace
    first, best = (reads.trial(store, finished_study.study, number) for number in (0, 5))
    found = find_predictions(store, workspace, best.trial_id)
    assert found is not None
    assert found.confusion.tolist() == [[4, 1], [2, 3]]
    assert find_predictions(store, workspace, first.trial_id) is None
    elsewhere = Workspace(tmp_path)
    assert find_predictions(store, elsewhere, best.trial_id) is None
    elsewhere.artifacts.mkdir()
    elsewhere.artifact("answers").write_bytes(b"damaged")
    assert find_predictions(store, elsewhere, best.trial_id) is None
