"""What a trial's worker leaves of its model's answers, as numbers, for figures to be made of.

A file of NumPy arrays without pickled objects: `confusion` counts validation pictures by class
(rows) and answer (columns); `classes` are the names. Of the best few trials also `mistakes`, small
uint8 pictures (N, height, width, channels) with `mistakes_true`, `mistakes_answer` (class numbers)
and `mistakes_chance` (the probability of the wrong answer); of data that are points of a plane
`plane` (256, 256) the likeliest class, row after row, `plane_chance` its probability in 1/255, and
`points` (N, 3): x, y and class of those seen. Where the study names a training record, of the
best few and of baselines `record`, its number, with `record_picture`, `record_true` and
`record_outputs`, a number a class.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from optuna_study.store.schema import ARTIFACT_KEY, trial_system_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store

Content = TypeVar("Content")

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
class Outputs:
    """What a model gives for one training picture."""

    record: int  # the picture's place among the training pictures, from 0
    image: NDArray[np.uint8]  # (height, width, channels)
    truth: int
    values: NDArray[np.float32]  # an output a class, as the loss compares it with its target


@dataclass(frozen=True)
class Predictions:
    """A model's answers: on the validation pictures, and on one that it was trained on."""

    classes: Sequence[str]
    confusion: NDArray[np.int64]
    mistakes: Mistakes | None = None
    plane: Plane | None = None
    outputs: Outputs | None = None


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
    if predictions.outputs is not None:
        one = predictions.outputs
        arrays |= {
            "record": np.array([one.record]),
            "record_picture": one.image,
            "record_true": np.array([one.truth]),
            "record_outputs": one.values.astype(np.float32),
        }
    return arrays_to_bytes(arrays)


def arrays_to_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as the content of a file."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def from_bytes(content: bytes) -> Predictions:
    """What `to_bytes` wrote.

    Raises:
        ValueError: it is none of its files.
    """
    return _predictions(arrays_from_bytes(content))


def arrays_from_bytes(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a file.

    Raises:
        ValueError: it is no file of arrays, or they would fill the memory.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # readers of archives and arrays fail in any way that bytes lead to
        raise ValueError(f"not a file of predictions: {error}") from error


def _predictions(arrays: Mapping[str, NDArray[np.generic]]) -> Predictions:
    classes = [str(name) for name in array_of(arrays, "classes", "U", 1)]
    count = len(classes)
    mistakes = plane = outputs = None
    if "mistakes" in arrays:
        images = array_of(arrays, "mistakes", "u", 4)
        require("mistakes", len(images) <= MOST_MISTAKES and images.shape[3] <= 3)
        mistakes = Mistakes(
            images,
            *(
                array_of(arrays, name, kind, 1, len(images), below=below)
                for name, kind, below in (
                    ("mistakes_true", "iu", count),
                    ("mistakes_answer", "iu", count),
                    ("mistakes_chance", "f", 1.001),
                )
            ),
        )
    if "plane" in arrays:
        answers = array_of(arrays, "plane", "u", 2, below=count)
        chances = array_of(arrays, "plane_chance", "u", 2)
        require("plane", answers.shape == chances.shape == (PLANE, PLANE))
        points = array_of(arrays, "points", "u", 2)
        require("points", points.shape[1] == 3 and len(points) <= MOST_POINTS)
        plane = Plane(answers, chances, points)
    if "record" in arrays:
        outputs = _outputs(arrays, count)
    confusion = array_of(arrays, "confusion", "iu", 2, count).astype("int64")
    require("confusion", confusion.shape == (count, count))
    return Predictions(classes, confusion, mistakes, plane, outputs)


def _outputs(arrays: Mapping[str, NDArray[np.generic]], count: int) -> Outputs:
    image = array_of(arrays, "record_picture", "u", 3)
    require("record_picture", max(image.shape[:2]) <= LARGEST and 1 <= image.shape[2] <= 3)
    return Outputs(
        record=int(array_of(arrays, "record", "iu", 1, 1, below=2**62)[0]),
        image=image,
        truth=int(array_of(arrays, "record_true", "iu", 1, 1, below=count)[0]),
        values=array_of(arrays, "record_outputs", "f", 1, count),
    )


def array_of(
    arrays: Mapping[str, NDArray[Any]],
    name: str,
    kinds: str,
    dimensions: int,
    length: int | None = None,
    below: float | None = None,
) -> NDArray[Any]:
    """An array, of one of NumPy's `kinds` and so many dimensions, its values from 0 to `below`.

    Raises:
        ValueError: there is no such array.
    """
    require(name, name in arrays)
    array = arrays[name]
    fits = array.dtype.kind in kinds and array.ndim == dimensions
    require(name, fits and length in (None, len(array)))
    if below is not None:
        require(name, bool(((array >= 0) & (array < below)).all()))
    return array


def require(name: str, fits: bool) -> None:
    """Refuse an array that does not fit.

    Raises:
        ValueError: it does not.
    """
    if not fits:
        raise ValueError(f"not a file of predictions: its '{name}' cannot be")


def find_predictions(store: Store, workspace: Workspace, trial_id: int) -> Predictions | None:
    """The predictions that a trial left; None where it left none, or they lie elsewhere.

    Raises:
        StoreError: the store fails.
    """
    return find_artifact(store, workspace, trial_id, FILE, from_bytes)


def find_artifact(
    store: Store,
    workspace: Workspace,
    trial_id: int,
    filename: str,
    read: Callable[[bytes], Content],
) -> Content | None:
    """What a trial's artifact of a name holds; None where it lies elsewhere, or cannot be read."""
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
            try:
                return read(path.read_bytes()) if path.is_file() else None
            except ValueError:
                return None
    return None
