"""Which versions a study was made with, and whether this package may go on with it."""

from __future__ import annotations

import importlib.metadata
import platform
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from optuna_study.definition.serialise import definition_hash, from_json
from optuna_study.errors import OtherVersionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.definition.model import Definition
    from optuna_study.store.records import StudyRecord

PACKAGE = "optuna-study"


def versions() -> Mapping[str, str]:
    """Versions recorded with a study, beside torch's."""
    names = (PACKAGE, "optuna", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}


def require_same_version(study: StudyRecord) -> None:
    """Refuse a study that another minor version of this package has made.

    Raises:
        OtherVersionError: its trials would not compare with those of this version.
    """
    here = importlib.metadata.version(PACKAGE)
    made_by = str(study.environment.get(PACKAGE, here))
    if _minor(made_by) != _minor(here):
        raise OtherVersionError(
            f"{study.name}: made by {PACKAGE} {made_by}, this is {here}; work on it with "
            f"`pip install '{PACKAGE}=={_minor(made_by)}.*'`, or make a new study with "
            "`launch --name`"
        )


def pinned_definition(study: StudyRecord) -> Definition:
    """A study's definition, proven to mean here what it meant where the study was made.

    Raises:
        OtherVersionError: it does not.
    """
    with suppress(OtherVersionError):  # settings that this version does not know, or lacks
        definition = from_json(study.definition)
        if definition_hash(definition) == study.definition_hash:
            return definition
    made_by = study.environment.get(PACKAGE, "unknown")
    raise OtherVersionError(
        f"{study.name}: its definition reads differently here, so another version of {PACKAGE} "
        f"made it ({made_by}); work on it with that one, or make a new study with `launch --name`"
    )


def differences(study: StudyRecord, here: Mapping[str, Any]) -> list[str]:
    """What of package, torch and device differs from where the study was made, in words."""
    made = study.environment
    return [
        f"{name} was {made[name]}, is {here.get(name)}"
        for name in (PACKAGE, "torch", "device")
        if name in made and made[name] != here.get(name)
    ]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
