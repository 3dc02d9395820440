"""A SQLite file stays the one a command began with, and is whole by itself after the command."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.store.engine.open import open_store
from optuna_study.store.reads.reads import list_studies
from optuna_study.store.studies.studies import find_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = """
title = "Digits"
[data]
name = "digits"
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
    """Start a command in a folder of its own, with a long study in a file."""
    (tmp_path / "long.toml").write_text(LONG, encoding="utf-8")
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


@pytest.mark.slow
@pytest.mark.parametrize(("change", "what"), [CHANGES[0], CHANGES[2]])
def test_a_launch_whose_file_goes_ends_without_a_best(
    start: Callable[..., Any], tmp_path: Path, change: Callable[[Path], None], what: str
) -> None:
    path = tmp_path / "storage" / "studies.db"
    launch = start("launch", "long.toml", "--workers", "1")
    until(lambda: launch.poll() is not None or _has_epochs(path))
    change(path)
    out, err = launch.communicate(timeout=120)
    assert launch.returncode == 5, err
    assert sum(line.startswith("Error:") for line in err.splitlines()) == 1
    assert what in err
    assert "Best" not in out


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
    start: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "storage" / "studies.db"
    detached = start("launch", "long.toml", "--detach")
    name = detached.communicate(timeout=120)[0].strip()
    assert is_log_empty(path)
    assert state_of_copy(path, name) == "active"
    worker = start("worker", name, "--workers", "1")
    until(lambda: worker.poll() is not None or _has_epochs(path))
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=120)
    assert worker.returncode == 143
    assert is_log_empty(path)
    (row,) = list_studies(open_store(f"sqlite:///{path}"))
    assert (row.running, row.waiting) == (0, 1)
    assert state_of_copy(path, name) == "active"
