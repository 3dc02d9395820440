"""Pictures of bulbasaur, charmander, mewtwo, pikachu and squirtle from the web."""

from __future__ import annotations

from functools import partial

from optuna_study.data.folder.read import read_fetched

TITLE = "1,167 pictures of bulbasaur, charmander, mewtwo, pikachu and squirtle from the web"
CHANNELS = (1, 3)
STAND_IN = "rendered"

load = partial(read_fetched, "pokemon")
