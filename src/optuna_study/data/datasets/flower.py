"""Photographs of daisies, dandelions, roses, sunflowers and tulips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.data.fetch import require_fetched
from optuna_study.data.folder.read import read_folder

if TYPE_CHECKING:
    from optuna_study.data.pictures import Pictures, Request

TITLE = "3,483 photographs of daisies, dandelions, roses, sunflowers and tulips"
CHANNELS = (1, 3)
STAND_IN = "rendered"


def load(request: Request) -> Pictures:
    """The fetched pictures.

    Raises:
        DataError: they have not been fetched.
    """
    return read_folder(require_fetched("flower", request.workspace), request)
