"""The study file that a launch names, or the way from a stored study's name to it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from optuna_study.definition.names import bare_name
from optuna_study.definition.read import find_study_file
from optuna_study.definition.serialise import from_json
from optuna_study.errors import NotFoundError, OptunaStudyError
from optuna_study.store.engine.open import open_store
from optuna_study.store.studies.studies import load_study

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.store.engine.address import StoreAddress
    from optuna_study.store.records import StudyRecord


def locate_study_file(name: str, address: StoreAddress) -> Path:
    """The study file of a name.

    Raises:
        NotFoundError: there is none; for the name of a stored study, with the launch that made it.
    """
    try:
        return find_study_file(name)
    except NotFoundError:
        stored = _stored(name, address)
        if stored is None:
            raise
    raise NotFoundError(
        f"'{name}' is no study file, but a study in {address}; `{_launch_of(stored)}` goes on "
        "with it"
    )


def _stored(name: str, address: StoreAddress) -> StudyRecord | None:
    try:
        with closing(open_store(address)) as store:
            return load_study(store, name)
    except OptunaStudyError:
        return None  # what is wrong with the store is said when the file is right


def _launch_of(stored: StudyRecord) -> str:
    made, called = from_json(stored.definition), bare_name(stored.name)
    options = [made.study]
    if called != made.study:
        options += ["--name", called]
    if made.profile != "full":
        options += ["--profile", made.profile]
    if made.only is not None:
        options += ["--only", made.only]
    return f"optuna-study launch {' '.join(options)}"
