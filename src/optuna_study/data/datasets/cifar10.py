"""Small colour photographs of ten kinds of things, in the test part that everyone compares by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.data.arrays import read_arrays
from optuna_study.data.availability import require_arrays

if TYPE_CHECKING:
    from optuna_study.data.pictures import Pictures, Request

TITLE = "photographs of ten kinds of things, colour, 32 x 32, from cifar10.npz"
CHANNELS = (3,)
STAND_IN = "rendered"
NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def load(request: Request) -> Pictures:
    """The pictures of the file in the workspace.

    Raises:
        DataError: it is not there, or unusable.
    """
    return read_arrays(require_arrays("cifar10", request.workspace), request, NAMES)
