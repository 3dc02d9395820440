"""Photographs of daisies, dandelions, roses, sunflowers and tulips."""

from __future__ import annotations

from functools import partial

from optuna_study.data.folder.read import read_fetched

TITLE = "3,483 photographs of daisies, dandelions, roses, sunflowers and tulips"
CHANNELS = (1, 3)
STAND_IN = "rendered"

load = partial(read_fetched, "flower")
