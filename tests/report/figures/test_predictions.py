"""The file in which a trial's answers are kept."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    for stored, made in (
        (read.mistakes, predictions.mistakes),
        (read.plane, predictions.plane),
        (read.outputs, predictions.outputs),
    ):
        assert stored is not None
        assert made is not None
        for name in vars(made):
            assert np.array_equal(getattr(stored, name), getattr(made, name)), name
    bare = from_bytes(to_bytes(Predictions(["a"], np.array([[3]]))))
    assert (bare.mistakes, bare.plane, bare.outputs) == (None, None, None)


def test_one_trial_writes_the_same_file_twice(predictions: Predictions) -> None:
    assert to_bytes(predictions) == to_bytes(predictions)


@pytest.mark.parametrize("length", [0, 10, 200])
def test_half_a_file_is_refused(predictions: Predictions, length: int) -> None:
    with pytest.raises(ValueError, match="not a file of predictions"):
        from_bytes(to_bytes(predictions)[:length])


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("classes", np.array([["a", "b"]])),
        ("classes", np.arange(2)),
        ("confusion", np.arange(4)),
        ("confusion", np.eye(3, dtype=int)),
        ("confusion", np.eye(2)),
        ("confusion", np.array([[1, 2], [3, 4]], dtype="M8[s]")),
        ("mistakes", np.zeros((500, 4, 4, 3), np.uint8)),
        ("mistakes", np.zeros((1, 4, 4, 9), np.uint8)),
        ("mistakes_true", np.array([99])),
        ("mistakes_answer", np.array([-1])),
        ("mistakes_chance", np.array([np.nan])),
        ("plane", np.zeros((9, 9), np.uint8)),
        ("plane", np.full((256, 256), 200, np.uint8)),
        ("plane_chance", np.zeros(256, np.uint8)),
        ("points", np.zeros((5, 2), np.uint8)),
        ("record", np.array([-1])),
        ("record_picture", np.zeros((900, 4, 3), np.uint8)),
        ("record_true", np.array([2])),
        ("record_outputs", np.zeros(3, np.float32)),
    ],
)
def test_arrays_that_cannot_be_are_refused(
    predictions: Predictions, name: str, array: Any
) -> None:
    with np.load(io.BytesIO(to_bytes(predictions))) as stored:
        arrays = {each: stored[each] for each in stored.files}
    assert arrays[name].shape != array.shape or not np.array_equal(arrays[name], array)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{**arrays, name: array})
    with pytest.raises(ValueError, match="not a file of predictions: "):
        from_bytes(buffer.getvalue())


def test_what_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optuna_study.report.figures.predictions.MOST_BYTES", 1_000_000)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, classes=np.zeros(1_000_001, np.uint8))
    with pytest.raises(ValueError, match="unpacks to more than"):
        from_bytes(buffer.getvalue())


@given(data=st.data())
def test_changed_bytes_are_refused_or_change_nothing(data: st.DataObject) -> None:
    given = Predictions(["cat", "dog"], np.array([[3, 1], [2, 5]]))
    damaged = bytearray(to_bytes(given))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        read = from_bytes(bytes(damaged))
    except ValueError:
        return
    assert (read.classes, read.confusion.tolist()) == (given.classes, given.confusion.tolist())


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
