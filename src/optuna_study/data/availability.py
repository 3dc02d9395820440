"""Where a data set's pictures are expected, and how they get there; light to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.data.fetch import SOURCES
from optuna_study.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.paths import Workspace

ARRAY_SETS = ("cifar10", "mnist")
"""Data sets that come as one file of arrays."""

ARRAY_SUFFIX = ".npz"


def is_here(name: str, workspace: Workspace) -> bool:
    """Whether the pictures of a data set are in the workspace, or are computed."""
    if name in SOURCES:
        return workspace.pictures(name).is_dir()
    return workspace.arrays(name).is_file() if name in ARRAY_SETS else name != "folder"


def way_to_get(name: str, workspace: Workspace) -> str | None:
    """What brings a data set's pictures into the workspace; None where nothing does."""
    if name in SOURCES:
        return f"`optuna-study data fetch {name}`"
    if name in ARRAY_SETS:
        return f"{name}{ARRAY_SUFFIX} in {workspace.arrays(name).parent}"
    return None


def require_arrays(name: str, workspace: Workspace) -> Path:
    """The file of a data set in the workspace.

    Raises:
        DataError: it is not there.
    """
    path = workspace.arrays(name)
    if not path.is_file():
        raise DataError(
            f"data set '{name}': no {path}",
            f"put the file there, or give it with --data FILE{ARRAY_SUFFIX}",
        )
    return path
