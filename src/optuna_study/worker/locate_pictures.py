"""Finds the pictures of a study on this machine: by their fingerprint, wherever they lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.data.availability import is_here, way_to_get
from optuna_study.data.load import open_pictures
from optuna_study.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.store.records import StudyRecord

SHOWN = 12  # characters of a fingerprint: enough to tell two apart


def find_pictures(
    study: StudyRecord, definition: Definition, given: Path | None, workspace: Workspace
) -> Path | None:
    """The folder that holds a study's pictures here; None for the data set of its definition.

    Looked at, in this order: the folder given, the study's own, the data set by its name.

    Raises:
        DataError: none of them is here, or holds these pictures.
    """
    data = definition.config.data
    looked_at = []
    for folder in _places(study, definition, given, workspace):
        where = str(folder or data.name)
        try:
            found = open_pictures(data, folder, workspace).fingerprint
        except DataError as error:
            looked_at.append(error.what)
            continue
        if found == study.fingerprint:
            return folder
        looked_at.append(f"{where} holds others (fingerprint {found[:SHOWN]})")
    said = "; ".join(looked_at) or f"neither {study.data_source} nor '{data.name}' is here"
    way = way_to_get(data.name, workspace)
    raise DataError(
        f"{study.name}: the pictures it was made with (fingerprint {study.fingerprint[:SHOWN]}) "
        f"are not here: {said}; give their folder with --data{f', or {way}' if way else ''}"
    )


def _places(
    study: StudyRecord, definition: Definition, given: Path | None, workspace: Workspace
) -> Iterator[Path | None]:
    own = [Path(study.data_source)] if Path(study.data_source).is_absolute() else []
    if definition.folder is not None:
        own.append(Path(definition.folder).absolute())
    if given is not None:
        yield given.absolute()
    for folder in dict.fromkeys(own):
        if folder.exists() and folder != given:
            yield folder
    if is_here(definition.config.data.name, workspace):
        yield None
