"""What a launch from Python shows, on a terminal and in a notebook; the launch is a fake."""

from __future__ import annotations

import html
import re
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

import optuna_study
from optuna_study.api.launching import _follow
from optuna_study.api.screen import screen
from optuna_study.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Cell:
    """What a notebook's cell has shown, the last thing last."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.displayed = 0

    def display(self, shown: str, *, display_id: bool) -> Cell:
        assert display_id
        self.displayed += 1
        self.shown.append(shown)
        return self

    def update(self, shown: str) -> None:
        self.shown.append(shown)

    @property
    def texts(self) -> list[str]:
        return [html.unescape(re.sub(r"<[^>]+>", "", each)) for each in self.shown]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """This process as the kernel of a notebook."""
    made = Cell()
    shell = types.SimpleNamespace(kernel=object())
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    shown: Any = types.ModuleType("IPython.display")
    shown.HTML, shown.display = str, made.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return made


def _task(stored_study: Any) -> Any:
    return types.SimpleNamespace(
        store=stored_study.store, study=stored_study.study, notes=("[3] left out.",)
    )


def _ticks(stored_study: Any) -> Iterator[Any]:
    yield None
    stored_study.run([0.5])


def test_a_notebook_s_cell_shows_the_live_table_in_place(
    stored_study: Any, cell: Cell, capsys: pytest.CaptureFixture[str]
) -> None:
    with screen() as show:
        show("Starting [torch]")
        _follow(_task(stored_study), _ticks(stored_study), show)
    assert cell.displayed == 1
    assert cell.texts[0].strip() == "Starting [torch]"
    first, last = cell.texts[1], cell.texts[-1]
    assert "[3] left out." in first
    assert "0/6  waiting for a worker" in first
    assert "1/6" in last
    assert "completed   50.0 %  plain" in last
    assert all(each.startswith("<pre") for each in cell.shown)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_the_end_is_written(
    stored_study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with screen() as show:
        _follow(_task(stored_study), _ticks(stored_study), show)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("[3] left out.\n")
    assert "1/6" in err


def test_launch_takes_a_folder_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets" / "cats").mkdir(parents=True)
    with pytest.raises(UsageError, match="pets"):
        optuna_study.launch("pets", progress=False)
    assert capsys.readouterr() == ("", "")
