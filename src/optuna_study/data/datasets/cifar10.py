"""Small colour photographs of ten kinds of things, in the test part that everyone compares by."""

from __future__ import annotations

from functools import partial

from optuna_study.data.arrays import read_named_arrays

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

load = partial(read_named_arrays, "cifar10")
