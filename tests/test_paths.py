from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optuna_study.errors import DataError, DiskFullError, FolderError, UsageError
from optuna_study.paths import (
    ARTIFACTS_VARIABLE,
    Workspace,
    file_name,
    untouched_by_bad_data,
    writing,
    written_beside,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_option_wins_over_the_environment_and_that_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Workspace.locate().root == tmp_path / "storage"
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "elsewhere"))
    assert Workspace.locate().root == tmp_path / "elsewhere"
    assert Workspace.locate(tmp_path / "here").root == tmp_path / "here"


def test_trials_of_two_studies_never_share_a_file(tmp_path: Path) -> None:
    places = Workspace(tmp_path)
    assert places.checkpoint("one", 3, None) != places.checkpoint("two", 3, None)
    assert places.checkpoint("one", 3, None) != places.kept_model("one", 3, None)


def test_a_file_written_beside_takes_its_place_whole_and_readable(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    before = os.umask(0o022)
    try:
        with written_beside(target) as beside:
            beside.write_text("all of it")
            assert not target.exists()
    finally:
        os.umask(before)
    assert target.read_text() == "all of it"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert list(target.parent.iterdir()) == [target]


def test_a_broken_write_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def write() -> None:
        with written_beside(target) as beside:
            beside.write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EROFS, FolderError),
        (errno.EACCES, FolderError),
        (errno.ENOTDIR, FolderError),
        (errno.ENOENT, FolderError),
        (errno.ENAMETOOLONG, FolderError),
    ],
)
def test_refusals_of_the_system_become_errors_that_name_the_folder(
    tmp_path: Path, number: int, expected: type[Exception]
) -> None:
    with pytest.raises(expected, match=str(tmp_path)), writing(tmp_path):
        raise OSError(number, os.strerror(number))


def test_other_system_errors_stay_loud(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="interrupted"), writing(tmp_path):
        raise OSError(errno.EIO, "interrupted")


def test_a_file_where_the_workspace_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(FolderError, match="taken"):
        Workspace(tmp_path / "taken").require_writable()


def test_bad_data_leave_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    kept, new = tmp_path / "kept/old.json", tmp_path / "kept/made/new.json"
    kept.parent.mkdir()
    kept.touch()

    def read() -> None:
        with untouched_by_bad_data(kept, new):
            new.parent.mkdir()
            new.touch()
            raise DataError("unusable")

    with pytest.raises(DataError):
        read()
    assert kept.exists()
    assert not new.parent.exists()


HOSTILE = st.sampled_from(
    (
        *(
            "",
            ".",
            "..",
            "../up",
            "/etc/passwd",
            "a/../../b",
            "a\0b",
            "a\nb",
            "..\\up",
            "~",
            "-rf",
        ),
        *("\u202egpj.trial", "\ud800", "a" * 201, "é" * 101, "\uff0e\uff0e\uff0fup", "\u2025"),
    )
)
NAMES = (
    HOSTILE | st.text(max_size=30) | st.from_regex(r"(\.{0,2}/?[a-z]{0,2}/?){0,4}", fullmatch=True)
)
METHODS = {
    "pictures": "data",
    "arrays": "data",
    "cache": "cache",
    "study": "studies",
    "artifact": "artifacts",
    "lock": "locks",
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
@pytest.mark.parametrize("method", METHODS)
def test_a_name_is_one_file_of_its_folder_or_refused(
    method: str, name: str, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    try:
        path: Path = getattr(workspace, method)(name)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most names are fine
        assert str(error).isprintable()  # noqa: PT017
        return
    assert path.parent == tmp_path / METHODS[method]
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert path.resolve().parent == path.parent.resolve()
    assert path.name in {each.name for each in path.parent.iterdir()}
    with written_beside(path) as beside:
        assert beside.parent == path.parent
    path.unlink()


@given(uuid=NAMES, worker=NAMES)
def test_the_files_of_a_study_are_in_its_folder(uuid: str, worker: str) -> None:
    workspace = Workspace(Path("/w"))
    ways: list[Callable[[], Path]] = [
        lambda: workspace.checkpoint(uuid, 3, None),
        lambda: workspace.kept_model(uuid, 3, None),
        lambda: workspace.log(uuid, worker),
    ]
    for way in ways:
        try:
            path = way()
        except UsageError:
            continue
        assert os.path.normpath(path) == str(path)
        assert path.parents[2] == Path("/w/studies")


@pytest.mark.parametrize("name", ["", "..", "../up", "/up", "a/b", "a\0b", "\ud800", "a" * 201])
def test_hostile_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a file"):
        file_name(name)


@pytest.mark.parametrize("name", ["tiny@cpu-rendered", "größe ✓", "a" * 200, "host.lan-12-001"])
def test_usual_names_are_taken(name: str) -> None:
    assert file_name(name) == name
