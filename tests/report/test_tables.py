"""How wide a line is: that of the stream it is for."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import tell
from optuna_study.report.tables import line_width

if TYPE_CHECKING:
    import pytest


def test_a_line_for_stderr_is_as_wide_as_its_own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 50))
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        assert line_width(terminal) == 50
        monkeypatch.setattr("sys.stderr", terminal)
        tell("a word and " * 9)
        terminal.flush()
        lines = click.unstyle(os.read(ours, 4096).decode()).splitlines()
        assert len(lines) == 2
        assert max(map(len, lines)) <= 50
        monkeypatch.setenv("COLUMNS", "60")
        assert line_width(terminal) == 60
    os.close(ours)


def test_a_terminal_without_a_descriptor_has_the_usual_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "")
    screen = io.StringIO()
    assert line_width(screen) == sys.maxsize
    monkeypatch.setattr(screen, "isatty", lambda: True)
    assert 0 < line_width(screen) < sys.maxsize
