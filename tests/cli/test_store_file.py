"""A SQLite file stays the one a command began with, and is whole by itself after the command."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.errors import StoreError
from optuna_study.store.engine.open import open_store
from optuna_study.store.reads.reads import list_studies
from optuna_study.store.studies.studies import find_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.paths import Workspace

LONG = """
title = "Digits"
[data]
name = "digits"
image_size = 16
[model]
name = "mlp"
[train]
epochs = 1000
[search]
trials = 3
[space]
lr = {low = 1e-3, high = 0.1, log = true}
"""


def remove(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def replace(path: Path) -> None:
    other = path.with_name("other.db")
    shutil.copy(path, other)
    other.replace(path)


def link(path: Path) -> None:
    os.link(path, path.with_name("second.db"))


CHANGES = [
    (remove, "was removed or moved away"),
    (move, "was removed or moved away"),
    (replace, "was replaced by another file"),
    (link, "has got a second name (a hard link)"),
]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command in a folder of its own."""
    started = []

    def call(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "optuna_study", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def until(holds: Callable[[], object], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_watched(process: subprocess.Popen[str], path: Path) -> bool:
    """Whether a process has the file open."""
    opened = Path(f"/proc/{process.pid}/fd").iterdir()
    return any(os.path.realpath(file) == str(path.resolve()) for file in opened)


def is_log_empty(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return not log.exists() or log.stat().st_size == 0


def state_of_copy(path: Path, name: str) -> str:
    """A study's state in a copy of the file alone, after a look at the whole of it."""
    alone = path.parent / "alone" / "copy.db"
    alone.parent.mkdir(exist_ok=True)
    shutil.copy(path, alone)
    with closing(sqlite3.connect(alone)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    study = find_study(open_store(f"sqlite:///{alone}"), name)
    assert study is not None
    return study.state


@pytest.mark.parametrize(("change", "what"), CHANGES)
@pytest.mark.slow
def test_a_file_that_goes_while_it_is_watched_ends_the_command(
    stored_study: Any, start: Callable[..., Any], change: Callable[[Path], None], what: str
) -> None:
    path = stored_study.store.address.path
    watch = start("watch", "small", "--storage", stored_study.url)
    until(lambda: watch.poll() is not None or is_watched(watch, path))
    change(path)
    out, err = watch.communicate(timeout=60)
    assert watch.returncode == 5, err
    errors = [line for line in err.splitlines() if line.startswith("Error:")]
    assert errors == [
        f"Error: {path}: {what} while this command ran; what it wrote last may be missing there"
    ]
    assert "Best" not in out


@pytest.fixture
def long_study(tmp_path: Path, digits_workspace: Workspace) -> Path:
    """Where the store of a long study will be, whose file and pictures are there."""
    (tmp_path / "long.toml").write_text(LONG, encoding="utf-8")
    shutil.copytree(digits_workspace.root, tmp_path / "storage")
    return tmp_path / "storage" / "studies.db"


@contextmanager
def once_it_trains(path: Path, act: Callable[[], object]) -> Iterator[None]:
    """While a command runs in this process, do something as soon as its store has epochs."""
    over = threading.Event()

    def wait() -> None:
        while not over.wait(0.05):
            if _has_epochs(path):
                act()
                return

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(("change", "what"), [CHANGES[0], CHANGES[2]])
def test_a_launch_whose_file_goes_ends_without_a_best(
    cli: Callable[..., Any], long_study: Path, change: Callable[[Path], None], what: str
) -> None:
    with once_it_trains(long_study, lambda: change(long_study)):
        launch = cli("launch", "long.toml", "--workers", "1")
    assert launch.code == 5, launch.err
    assert sum(line.startswith("Error:") for line in launch.err.splitlines()) == 1
    assert what in launch.err
    assert "Best" not in launch.out


def _has_epochs(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return bool(
                connection.execute("SELECT count(*) FROM optuna_study_epochs").fetchone()[0]
            )
    except sqlite3.OperationalError:
        return False  # its tables are just being made


@pytest.mark.parametrize("command", ["list", "launch"])
def test_a_second_name_is_refused(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path, command: str
) -> None:
    path = stored_study.store.address.path
    second = path.with_name("second.db")
    os.link(path, second)
    (tmp_path / "long.toml").write_text(LONG, encoding="utf-8")
    study = ["long.toml"] if command == "launch" else []
    result = cli(command, *study, "--storage", f"sqlite:///{second}")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"Error: {second}: this file has a second name (a hard link), and SQLite would keep a log "
        "for each; remove the other name, or copy the file\n"
    )


def test_the_file_is_whole_after_each_order(stored_study: Any, cli: Callable[..., Any]) -> None:
    path = stored_study.store.address.path
    stored_study.start([0.25, 0.5])
    for command, state in (("pause", "paused"), ("resume", "active"), ("stop", "stopping")):
        assert cli(command, "small", "--storage", stored_study.url).code == 0
        assert state_of_copy(path, "small") == state


@pytest.mark.slow
def test_the_file_is_whole_after_a_registration_and_after_a_signal(
    cli: Callable[..., Any], long_study: Path
) -> None:
    name = cli("launch", "long.toml", "--detach").out.strip()
    assert is_log_empty(long_study)
    assert state_of_copy(long_study, name) == "active"
    with once_it_trains(long_study, lambda: os.kill(os.getpid(), signal.SIGTERM)):
        worker = cli("worker", name, "--workers", "1")
    assert worker.code == 143, worker.err
    assert is_log_empty(long_study)
    (row,) = list_studies(open_store(f"sqlite:///{long_study}"))
    assert (row.running, row.waiting) == (0, 1)
    assert state_of_copy(long_study, name) == "active"


def test_a_file_that_goes_within_a_transaction_is_no_failing_disk(stored_study: Any) -> None:
    store = stored_study.store

    def read() -> None:
        with store.read():
            store.address.path.unlink()
            raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(StoreError, match="was removed or moved away"):
        read()
