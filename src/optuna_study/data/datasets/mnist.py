"""Handwritten digits of 28 x 28 grey pixels, in the test part that everyone compares by."""

from __future__ import annotations

from functools import partial

from optuna_study.data.arrays import read_named_arrays

TITLE = "70,000 handwritten digits, grey, 28 x 28"
CHANNELS = (1,)
STAND_IN = "digits"
NAMES = tuple("0123456789")

load = partial(read_named_arrays, "mnist")
