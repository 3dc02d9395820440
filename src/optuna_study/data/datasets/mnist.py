"""Handwritten digits of 28 x 28 grey pixels, in the test part that everyone compares by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.data.arrays import read_named_arrays

if TYPE_CHECKING:
    from optuna_study.data.pictures import Pictures, Request

TITLE = "70,000 handwritten digits, grey, 28 x 28"
CHANNELS = (1,)
STAND_IN = "digits"
NAMES = tuple("0123456789")


def load(request: Request) -> Pictures:
    """The pictures in the workspace.

    Raises:
        DataError: it is not there, or unusable.
    """
    return read_named_arrays("mnist", request)
