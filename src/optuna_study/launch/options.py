"""What the options of `launch` and `worker` stand for: study file, store, folders, profile."""

from __future__ import annotations

import importlib.util
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.data.availability import is_here, way_to_get
from optuna_study.definition.init import study_of_folder
from optuna_study.definition.names import bare_name
from optuna_study.definition.read import find_study_file
from optuna_study.definition.serialise import from_json
from optuna_study.errors import DataError, FolderError, NotFoundError, OptunaStudyError, UsageError
from optuna_study.paths import Workspace, given_path
from optuna_study.store.engine.connection import check_versions, connect
from optuna_study.store.engine.connection import versions as stored_versions
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.sqlite_file import refuse_unfit
from optuna_study.store.studies.studies import load_study
from optuna_study.text import Advice

if TYPE_CHECKING:
    from optuna_study.definition.model import StudyFile
    from optuna_study.store.engine.address import StoreAddress
    from optuna_study.store.records import StudyRecord


def study_of(argument: str) -> tuple[str, str]:
    """The study that is meant, and a sentence where its file was made just now.

    Raises:
        UsageError: another study has the name of the folder, or that cannot be made into one.
        DataError: the folder cannot be learned from.
        FolderError: the studies folder cannot be written.
        DiskFullError: no space left.
    """
    folder = given_path(argument)
    if not folder.is_dir():
        return argument, ""
    with suppress(NotFoundError):
        find_study_file(argument)
        return argument, ""  # a folder that is called as a study is: the study came first
    path, written = study_of_folder(folder)
    # What is left out of the folder, and why, a launch says itself.
    return str(path), "" if written is None else f"{path}: {written.found}"


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
        f"'{name}' is no study file, but a study in {address}",
        Advice(launch_words(stored), " goes on with it"),
    )


def _stored(name: str, address: StoreAddress) -> StudyRecord | None:
    try:
        with closing(open_store(address)) as store:
            return load_study(store, name)
    except OptunaStudyError:
        return None  # what is wrong with the store is said when the file is right


def launch_words(stored: StudyRecord) -> list[str]:
    """The command that goes on with a study, without the program's name and the store."""
    made, called = from_json(stored.definition), bare_name(stored.name)
    words = ["launch", made.study]
    if called != made.study:
        words += ["--name", called]
    if made.profile != "full":
        words += ["--profile", made.profile]
    if made.only is not None:
        words += ["--only", made.only]
    return [*words, *(word for text in made.fixed for word in ("--set", text))]


def check_store(address: StoreAddress, workspace: Workspace, option: str = "--storage") -> None:
    """Refuse a store that cannot be worked with, before anything else is written.

    `option` is what the address was given with.

    Raises:
        StorageUrlError: a SQLite file that cannot be used where it lies.
        FolderError: a SQLite file in a folder that is not there; the name may be mistyped.
        StoreError: it cannot be reached, or is of another version.
    """
    if address.path is not None:
        refuse_unfit(address.path)
    if address.path is not None and not address.path.exists():
        _require_folder(address.path, workspace, option)
        return  # it will be made
    store = connect(address)
    try:
        revision, version = stored_versions(store)
        if revision is not None:
            check_versions(store, revision, version)
    finally:
        store.close()


def _require_folder(database: Path, workspace: Workspace, option: str) -> None:
    """Only the workspace is made for a new store, no folder that a mistyped URL names."""
    if not database.parent.is_dir() and not database.is_relative_to(workspace.root):
        raise FolderError(f"{database.parent}: no such folder; create it first, or check {option}")


def event_folder(folder: Path | None) -> Path | None:
    """Where TensorBoard's files go, proven to be writable before anything else is made.

    Raises:
        UsageError: tensorboard is not installed.
        FolderError: the folder cannot be written.
    """
    if folder is None:
        return None
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard: the package tensorboard is not installed; "
            "pip install 'optuna-study[tensorboard]', or leave the option out"
        )
    try:
        Workspace(folder).require_writable()
    except FolderError as error:
        raise FolderError(f"--tensorboard {folder}: cannot be written; choose another") from error
    return folder.absolute()


def choose_profile(asked: str, device: str) -> str:
    """The profile that is asked for, or by the device, whose name this is."""
    if asked != "auto":
        return asked
    return "cpu" if device == "cpu" else "full"


def require_pictures(given: Path | None, file: StudyFile, workspace: Workspace) -> None:
    """Refuse a folder that is not there before torch is loaded, which looks into it.

    Raises:
        DataError: no such folder.
    """
    folder, _, _ = choose_data(given, file, workspace)
    if folder is not None and not folder.exists():
        raise DataError(
            f"{folder}: no such folder", "give one that holds a folder of pictures for each class"
        )


def choose_data(
    given: Path | None, file: StudyFile, workspace: Workspace
) -> tuple[Path | None, bool, tuple[str, ...]]:
    """The folder of pictures, if any; whether the stand-in is taken; the sentence that says so."""
    if given is not None:
        return given.absolute(), False, ()
    folder = Path(file.folder).absolute() if file.folder is not None else None
    if file.stand_in is None:
        return folder, False, ()
    name = file.config.data.name
    if folder.exists() if folder is not None else is_here(name, workspace):
        return folder, False, ()
    sentence = (
        f"No pictures of '{name}' here, so the built-in '{file.stand_in}' pictures stand in for "
        "them"
    )
    way = way_to_get(name, workspace)
    if folder is None and way is not None:
        sentence += f"; {way} gets the real ones"
    return None, True, (f"{sentence}, or --data takes your own.",)
