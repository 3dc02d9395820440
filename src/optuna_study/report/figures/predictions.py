"""What a trial's worker leaves of its model's answers, as numbers, for figures to be made of.

A file of NumPy arrays without pickled objects: `confusion` counts validation pictures by class
(rows) and answer (columns); `classes` are the names. Of the best few trials also `mistakes`, small
uint8 pictures (N, height, width, channels) with `mistakes_true`, `mistakes_answer` (class numbers)
and `mistakes_chance` (the probability of the wrong answer); of data that are points of a plane
`plane` (256, 256) the likeliest class, row after row, `plane_chance` its probability in 1/255, and
`points` (N, 3): x, y and class of those seen.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from optuna_study.store.schema import ARTIFACT_KEY, trial_system_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store

FILE = "predictions.npz"
MOST_MISTAKES = 12
MOST_POINTS = 2000  # of a plane
MOST_BYTES = 1 << 28  # unpacked; a thousand classes come to 4 MB
PLANE = 256  # points of a side
LARGEST = 96  # pixels of a side; larger pictures are drawn smaller


@dataclass(frozen=True)
class Mistakes:
    """The pictures that a model got wrong with the most confidence, the worst first."""

    images: NDArray[np.uint8]  # (N, height, width, channels)
    truths: NDArray[np.int64]
    answers: NDArray[np.int64]
    chances: NDArray[np.float64]  # the probability of the wrong answer


@dataclass(frozen=True)
class Plane:
    """What a model answers at each point of a plane of 256 by 256, y first."""

    answers: NDArray[np.uint8]
    chances: NDArray[np.uint8]  # in 1/255
    points: NDArray[np.uint8]  # (N, 3): x, y and class of the training and validation points


@dataclass(frozen=True)
class Predictions:
    """A model's answers on the validation pictures."""

    classes: Sequence[str]
    confusion: NDArray[np.int64]
    mistakes: Mistakes | None = None
    plane: Plane | None = None


def to_bytes(predictions: Predictions) -> bytes:
    """The file of a trial's predictions."""
    import numpy as np

    arrays: dict[str, NDArray[np.generic]] = {
        "classes": np.array([str(name) for name in predictions.classes]),
        "confusion": predictions.confusion.astype(np.int32),
    }
    if predictions.mistakes is not None:
        worst = predictions.mistakes
        arrays |= {
            "mistakes": worst.images,
            "mistakes_true": worst.truths,
            "mistakes_answer": worst.answers,
            "mistakes_chance": worst.chances,
        }
    if predictions.plane is not None:
        arrays |= {
            "plane": predictions.plane.answers,
            "plane_chance": predictions.plane.chances,
            "points": predictions.plane.points,
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def from_bytes(content: bytes) -> Predictions:
    """What `to_bytes` wrote.

    Raises:
        ValueError: it is none of its files.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except Exception as error:  # readers of archives and arrays fail in any way that bytes lead to
        raise ValueError(f"not a file of predictions: {error}") from error
    return _predictions(arrays)


def _predictions(arrays: Mapping[str, NDArray[np.generic]]) -> Predictions:
    classes = [str(name) for name in _array(arrays, "classes", "U", 1)]
    count = len(classes)
    mistakes = plane = None
    if "mistakes" in arrays:
        images = _array(arrays, "mistakes", "u", 4)
        _require("mistakes", len(images) <= MOST_MISTAKES and images.shape[3] <= 3)
        mistakes = Mistakes(
            images,
            *(
                _array(arrays, name, kind, 1, len(images), below=below)
                for name, kind, below in (
                    ("mistakes_true", "iu", count),
                    ("mistakes_answer", "iu", count),
                    ("mistakes_chance", "f", 1.001),
                )
            ),
        )
    if "plane" in arrays:
        answers = _array(arrays, "plane", "u", 2, below=count)
        chances = _array(arrays, "plane_chance", "u", 2)
        _require("plane", answers.shape == chances.shape == (PLANE, PLANE))
        points = _array(arrays, "points", "u", 2)
        _require("points", points.shape[1] == 3 and len(points) <= MOST_POINTS)
        plane = Plane(answers, chances, points)
    confusion = _array(arrays, "confusion", "iu", 2, count).astype("int64")
    _require("confusion", confusion.shape == (count, count))
    return Predictions(classes, confusion, mistakes, plane)


def _array(
    arrays: Mapping[str, NDArray[Any]],
    name: str,
    kinds: str,
    dimensions: int,
    length: int | None = None,
    below: float | None = None,
) -> NDArray[Any]:
    """An array, of one of NumPy's `kinds` and so many dimensions, its values from 0 to `below`."""
    _require(name, name in arrays)
    array = arrays[name]
    fits = array.dtype.kind in kinds and array.ndim == dimensions
    _require(name, fits and length in (None, len(array)))
    if below is not None:
        _require(name, bool(((array >= 0) & (array < below)).all()))
    return array


def _require(name: str, fits: bool) -> None:
    if not fits:
        raise ValueError(f"not a file of predictions: its '{name}' cannot be")


def find_predictions(store: Store, workspace: Workspace, trial_id: int) -> Predictions | None:
    """The predictions that a trial left; None where it left none, or they lie elsewhere.

    Raises:
        StoreError: the store fails.
    """
    content = find_artifact(store, workspace, trial_id, FILE)
    try:
        return None if content is None else from_bytes(content)
    except ValueError:
        return None


def find_artifact(
    store: Store, workspace: Workspace, trial_id: int, filename: str
) -> bytes | None:
    """The content of a trial's artifact of a name, where this machine has it."""
    attribute = trial_system_attributes.c
    query = select(attribute.key, attribute.value_json).where(
        attribute.trial_id == trial_id, attribute.key.startswith(ARTIFACT_KEY, autoescape=True)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
    for key, stored in rows:
        # Optuna keeps what it says of an artifact as JSON in a JSON string.
        if json.loads(json.loads(stored))["filename"] == filename:
            path = workspace.artifact(key.removeprefix(ARTIFACT_KEY))
            return path.read_bytes() if path.is_file() else None
    return None
