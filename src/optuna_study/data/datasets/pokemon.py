"""Pictures of bulbasaur, charmander, mewtwo, pikachu and squirtle from the web."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.data.fetch import require_fetched
from optuna_study.data.folder.read import read_folder

if TYPE_CHECKING:
    from optuna_study.data.pictures import Pictures, Request

TITLE = "1,167 pictures of bulbasaur, charmander, mewtwo, pikachu and squirtle from the web"
CHANNELS = (1, 3)
STAND_IN = "rendered"


def load(request: Request) -> Pictures:
    """The fetched pictures.

    Raises:
        DataError: they have not been fetched.
    """
    return read_folder(require_fetched("pokemon", request.workspace), request)
