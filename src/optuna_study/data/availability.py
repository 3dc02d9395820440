"""Where a data set's pictures are expected, and how they get there; light to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from optuna_study.data.fetch import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.paths import Workspace

ARRAY_SUFFIX = ".npz"


@dataclass(frozen=True)
class RawSet:
    """A data set that comes as arrays: torchvision's class, its folder and what to know of it.

    `size` is what is downloaded, in bytes.
    """

    torchvision: str
    folder: str
    size: int
    licence: str


_CIFAR = (
    "the University of Toronto gives these pictures for research without a licence; credit Alex "
    "Krizhevsky's report of 2009."
)
RAW_SETS: Mapping[str, RawSet] = {
    "mnist": RawSet(
        "MNIST", "MNIST/raw", 11_594_722, "CC BY-SA 3.0, by Yann LeCun and Corinna Cortes."
    ),
    "fashion_mnist": RawSet("FashionMNIST", "FashionMNIST/raw", 30_878_645, "MIT, by Zalando SE."),
    "cifar10": RawSet("CIFAR10", "cifar-10-batches-py", 170_498_071, _CIFAR),
    "cifar100": RawSet("CIFAR100", "cifar-100-python", 169_001_437, _CIFAR),
}
"""Data sets that come as arrays: one file of them, or torchvision's raw layout."""


def is_here(name: str, workspace: Workspace) -> bool:
    """Whether the pictures of a data set are in the workspace, or are computed."""
    if name in SOURCES:
        return workspace.pictures(name).is_dir()
    if name in RAW_SETS:
        return workspace.arrays(name).is_file() or raw_folder(name, workspace).is_dir()
    return name != "folder"


def way_to_get(name: str, workspace: Workspace) -> str | None:
    """What brings a data set's pictures into the workspace; None where nothing does."""
    if name in SOURCES:
        return f"`optuna-study data fetch {name}`"
    if name in RAW_SETS:
        where = workspace.arrays(name).parent
        return f"`optuna-study data fetch {name}`, or {name}{ARRAY_SUFFIX} in {where}"
    return None


def raw_folder(name: str, workspace: Workspace) -> Path:
    """Where a data set lies in the workspace as torchvision lays it out."""
    return workspace.pictures(name).parent / RAW_SETS[name].folder


def find_raw_set(folder: Path, name: str) -> tuple[str, Path] | None:
    """The data set that a folder holds in torchvision's layout, and the root of that layout.

    `name` is preferred where several lie side by side; the folder may be the root, or one of
    those below it that lead to the files.
    """
    for each in sorted(RAW_SETS, key=lambda other: other != name):
        parts = PurePath(RAW_SETS[each].folder).parts
        for above in range(min(len(parts), len(folder.parents)) + 1):
            root = folder.parents[above - 1] if above else folder
            if folder == root.joinpath(*parts[:above]) and root.joinpath(*parts).is_dir():
                return each, root
    return None
