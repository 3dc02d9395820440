"""Clothes of ten kinds, 28 x 28 grey pixels, with the test part that everyone compares by."""

from __future__ import annotations

from functools import partial

from optuna_study.data.arrays import read_named_arrays

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

load = partial(read_named_arrays, "fashion_mnist")
