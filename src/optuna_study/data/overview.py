"""Which data sets there are, and what one of them holds, as it would be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optuna_study.config.catalogue import dataset_names
from optuna_study.config.settings import DataSettings
from optuna_study.data.availability import ARRAY_SUFFIX, RAW_SETS, is_here
from optuna_study.data.fetch import SOURCES
from optuna_study.data.load import open_pictures, title
from optuna_study.data.split import split

if TYPE_CHECKING:
    from optuna_study.paths import Workspace


@dataclass(frozen=True)
class Overview:
    """A data set as training sees it; `classes` counts the pictures of each side of the split."""

    name: str
    title: str
    classes: dict[str, dict[str, int]]
    pictures: int
    different: int
    size: int
    channels: int
    fingerprint: str
    notes: tuple[str, ...]


def data_sets(workspace: Workspace) -> list[dict[str, Any]]:
    """Every data set by name: what it is, and whether it is here."""
    rows = []
    for name in dataset_names():
        state = "built in"
        if name in {*SOURCES, *RAW_SETS}:
            state = "fetched" if name in SOURCES else "here"
            if not is_here(name, workspace):
                state = f"not here: optuna-study data fetch {name}"
        elif name == "folder":
            state = "give it with --data DIR"
        rows.append({"name": name, "state": state, "title": title(name)})
    return rows


def overview(name: str, image_size: int, workspace: Workspace) -> Overview:
    """What a data set, or a folder of pictures, holds.

    Raises:
        DataError: see `open_pictures`.
    """
    given = Path(name) if name not in dataset_names() else None
    folder = given if given and (given.is_dir() or given.suffix == ARRAY_SUFFIX) else None
    settings = DataSettings(name="folder" if folder else name, image_size=image_size)
    pictures = open_pictures(settings, folder, workspace)
    sides = vars(split(pictures))
    counts = {
        side: np.bincount(pictures.labels[indices], minlength=len(pictures.classes)).tolist()
        for side, indices in sides.items()
    }
    return Overview(
        name=name,
        title="a folder of pictures" if folder else title(name),
        classes={
            label: {side: count[position] for side, count in counts.items()}
            for position, label in enumerate(pictures.classes)
        },
        pictures=len(pictures.labels),
        different=len(np.unique(pictures.groups)),
        size=pictures.images.shape[1],
        channels=pictures.images.shape[3],
        fingerprint=pictures.fingerprint,
        notes=pictures.notes,
    )
