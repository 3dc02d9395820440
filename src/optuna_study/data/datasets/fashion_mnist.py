"""Clothes of ten kinds, 28 x 28 grey pixels, with the test part that everyone compares by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.data.arrays import read_named_arrays

if TYPE_CHECKING:
    from optuna_study.data.pictures import Pictures, Request

TITLE = "70,000 pictures of clothes of ten kinds, grey, 28 x 28"
CHANNELS = (1,)
STAND_IN = "digits"
NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load(request: Request) -> Pictures:
    """The pictures in the workspace.

    Raises:
        DataError: they are not there, or unusable.
    """
    return read_named_arrays("fashion_mnist", request)
