"""Pictures of one's own, a folder a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.errors import DataError

if TYPE_CHECKING:
    from optuna_study.data.pictures import Pictures, Request

TITLE = "pictures of one's own, a folder a class, given with --data or in the study file"
CHANNELS = (1, 3)


def load(request: Request) -> Pictures:
    """Nothing: a folder has to be given.

    Raises:
        DataError: always.
    """
    raise DataError("data set 'folder': no folder given", "say which with --data DIR")
