"""Which data sets there are, and what one of them holds, as it would be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optuna_study.training.catalogue import dataset_names
from optuna_study.training.config import DataSettings
from optuna_study.training.fetch import SOURCES
from optuna_study.training.places import ARRAY_SETS, ARRAY_SUFFIX, is_here
from optuna_study.training.sources import open_pictures, title
from optuna_study.training.split import split

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
        if name in SOURCES:
            here = is_here(name, workspace)
            state = "fetched" if here else f"not here: optuna-study data fetch {name}"
        elif name in ARRAY_SETS:
            away = f"give it with --data {name}{ARRAY_SUFFIX}"
            state = "here" if is_here(name, workspace) else away
        elif name == "folder":
            state = "give it with --data DIR"
        rows.append({"name": name, "state": state, "title": title(name)})
    return rows


def data_sets_text(rows: list[dict[str, Any]]) -> str:
    """The data sets as a table."""
    widths = [max(len(row[column]) for row in rows) for column in ("name", "state")]
    return "\n".join(
        f"{row['name']:<{widths[0]}}  {row['state']:<{widths[1]}}  {row['title']}" for row in rows
    )


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


def overview_text(found: Overview) -> str:
    """The overview for a person to read."""
    width = max(len(label) for label in ("class", *found.classes))
    lines = [
        f"{found.name}: {found.title}",
        f"{found.pictures} pictures, {found.different} of them different; kept at "
        f"{found.size}x{found.size} with {found.channels} channels",
        f"fingerprint {found.fingerprint}",
        "",
        f"{'class':<{width}}  train  validation  test",
    ]
    for label, sides in found.classes.items():
        counts = f"{sides['train']:>5}  {sides['validation']:>10}  {sides['test']:>4}"
        lines.append(f"{label:<{width}}  {counts}")
    lines += ["", *found.notes] if found.notes else []
    return "\n".join(lines)
