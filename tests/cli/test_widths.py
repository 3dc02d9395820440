"""Every page fits a terminal of 80 columns and uses a wide one; piped, a record is a line."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from optuna_study.cli.main import group, run
from optuna_study.cli.options import Invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEPT = Path(__file__).parents[1] / "kept" / "0.1.0"
MAIN, ENDS = "keepsake@cpu-digits", "ends@cpu"
STUDIES = (
    *(MAIN, f"{MAIN}-baselines", ENDS, "halted@cpu", "paused@cpu"),
    *("stopped@cpu", "lost@cpu", "registered@cpu"),
)
WIDE = 200


class Screen(io.StringIO):
    """A terminal, or what a pipe receives."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _commands(each, (*path, name))


HELP = [(*path, "--help") for path in _commands(group)]
PAGES = [
    ("list",),
    *((name, study) for study in STUDIES for name in ("show", "trials", "doctor")),
    *(("show", MAIN, "--trial", str(number)) for number in (3, 4, 7, 8)),
    *(("show", ENDS, "--trial", str(number)) for number in (2, 4, 5)),
    ("doctor",),
    ("data", "list"),
    ("plot", MAIN),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a store that has every kind of end, upgraded; the current folder."""
    folder = tmp_path_factory.mktemp("kept") / "here"
    shutil.copytree(KEPT, folder)
    (folder / "storage").mkdir()
    (folder / "studies.db").rename(folder / "storage" / "studies.db")
    with contextlib.chdir(folder):
        with contextlib.redirect_stdout(io.StringIO()):
            run(["doctor", "--fix"])
        yield folder


@pytest.fixture
def page(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The lines of a command's page on a terminal of some width, or in a pipe when None."""

    def lines(arguments: tuple[str, ...], width: int | None) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width or 80))
        screen = Screen(terminal=width is not None)
        with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(io.StringIO()):
            run(list(arguments))
        text = screen.getvalue()
        assert width is not None or "\x1b" not in text
        return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()

    return lines


@pytest.mark.parametrize("arguments", [*PAGES, *HELP], ids=" ".join)
def test_a_page_fits_80_columns(
    page: Callable[..., list[str]], arguments: tuple[str, ...], kept: Path
) -> None:
    shown = page(arguments, 80)
    assert shown
    # A path, or a command to paste, stays whole.
    unbroken = re.compile(r" {2,}\S+|Usage: .*|.*`[^`]{30,}`.*|.*/\S{20,}.*")
    assert [each for each in shown if len(each) > 80 and not unbroken.fullmatch(each)] == []


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("show", ENDS), ("trials", ENDS), ("doctor", MAIN), ("data", "list")],
    ids=" ".join,
)
def test_a_wide_terminal_is_used(
    page: Callable[..., list[str]], arguments: tuple[str, ...]
) -> None:
    narrow, wide = page(arguments, 80), page(arguments, WIDE)
    assert len(wide) < len(narrow)
    assert 100 < max(map(len, wide)) <= WIDE


def test_in_a_pipe_a_record_is_a_line(page: Callable[..., list[str]]) -> None:
    piped = page(("trials", ENDS), None)
    assert [line.split()[0] for line in piped] == ["trial", *map(str, range(len(piped) - 1))]
    assert [line.split()[0] for line in page(("list",), None)] == ["study", *STUDIES]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_message_breaks_between_words_and_keeps_commands_whole(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    said = f"{'a word ' * 6}and `optuna-study data fetch pokemon` {'gets it ' * 5}".rstrip()
    screen = Screen(terminal=terminal)
    with contextlib.redirect_stderr(screen):
        Invocation().set_up_logging()
        logging.getLogger("optuna_study.launch").info(said)
    first, *more = screen.getvalue().splitlines()
    assert re.match(r"\d\d:\d\d:\d\d a word", first)
    assert len(more) == (2 if terminal else 0)
    assert all(line.startswith(" " * 9) and len(line) <= 60 for line in more)
    assert " ".join((first[9:], *(line.strip() for line in more))) == said
    assert any("`optuna-study data fetch pokemon`" in line for line in (first, *more))


@pytest.mark.parametrize(("terminal", "lines"), [(True, 2), (False, 1)])
def test_an_error_breaks_between_words(
    kept: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool, lines: int
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    screen = Screen(terminal=terminal)
    with contextlib.redirect_stderr(screen):
        assert run(["list", "--storage", "sqlite:///nowhere.db"]) == 5
    shown = click.unstyle(screen.getvalue()).splitlines()
    assert shown[0].startswith("Error: ")
    assert len(shown) == lines
    assert all(line.startswith(" " * 7) and len(line) <= 80 for line in shown[1:])
