"""Small colour photographs of ten kinds of things, in the test part that everyone compares by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.data.arrays import read_named_arrays

if TYPE_CHECKING:
    from optuna_study.data.pictures import Pictures, Request

TITLE = "photographs of ten kinds of things, colour, 32 x 32"
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
    """The pictures in the workspace.

    Raises:
        DataError: it is not there, or unusable.
    """
    return read_named_arrays("cifar10", request)
