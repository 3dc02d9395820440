from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import Invocation
from optuna_study.cli.waiting import waiting

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Stderr from here on; pytest would put its own in the place of a fixture's."""
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_terminal_is_told_what_takes_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    with waiting("Starting torch") as say:
        assert "Starting torch" in stream.getvalue()
        say("Reading a\x1b]0;title\x07folder")
    written = stream.getvalue()
    assert "Reading a" in written
    assert "\x1b]" not in written, "nothing in it that a terminal obeys"
    assert written.endswith("\x1b[2K"), "nothing is left of it"


def test_quiet_and_files_get_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    with click.Context(click.Command("launch"), obj=Invocation(verbosity=-1)), waiting("Starting"):
        pass
    assert stream.getvalue() == ""
    plain = io.StringIO()
    monkeypatch.setattr(sys, "stderr", plain)
    with waiting("Starting torch") as say:
        say("Reading")
    assert plain.getvalue() == ""
