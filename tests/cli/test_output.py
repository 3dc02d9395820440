from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_study.cli.output import SafeStream
from optuna_study.report.formats import to_json
from optuna_study.store.records import EndKind
from optuna_study.text import spell_out

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = "a\x1b[2Jb\x9b31mc\u202ed\x07\x00\x7f\u2066\r"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
EMPHASIS = re.compile("\x1b\\[(0|1|31)m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not OBEYED.search(EMPHASIS.sub("", spell_out(text)))


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text()))
def test_json_stays_the_same_value(value: dict[str, str]) -> None:
    assert json.loads(to_json(value)) == value


def test_bytes_of_a_path_stay_but_on_a_terminal() -> None:
    pipe, terminal = io.StringIO(), Terminal()
    for stream in (pipe, terminal):
        SafeStream(stream).write("caf\udce9\x1b")
    assert pipe.getvalue() == "caf\udce9\\u001b"
    assert terminal.getvalue() == "caf\\udce9\\u001b"


COMMANDS = [
    *[["list", "-f", form] for form in ("table", "json", "yaml", "csv")],
    *[["trials", "small", "-f", form] for form in ("table", "json", "yaml", "csv")],
    ["show", "small"],
    ["show", "small", "--trial", "0"],
    ["doctor", "small"],
    ["export", "small", "--trial", "7"],
    ["--debug", "show", f"no{HOSTILE.replace(chr(0), '')}"],
    ["predict", f"no{HOSTILE.replace(chr(0), '')}.pt", "x.png"],
    ["validate", f"no{HOSTILE.replace(chr(0), '')}"],
]


@pytest.fixture
def hostile(stored_study: Any) -> Any:
    """A study whose trial was written by somebody who does not mean well."""
    stored_study.run(
        [0.25, float("nan")], EndKind.FAILED, reason=HOSTILE, traceback=f"Traceback\n{HOSTILE}\n"
    )
    return stored_study


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: " ".join(words)[:20])
def test_no_command_prints_what_a_terminal_would_obey(
    arguments: list[str], hostile: Any, cli: Callable[..., Any]
) -> None:
    where = [] if arguments[0] in ("predict", "validate") else ["--storage", hostile.url]
    result = cli(*arguments, *where)
    for text in (result.out, result.err):
        assert not OBEYED.search(EMPHASIS.sub("", text)), text


def test_nor_does_a_report_that_is_read_there(
    hostile: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    assert cli("report", "small", "--storage", hostile.url, "-o", "report.md").code == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "\\u001b[2J" in text
    assert not OBEYED.search(text)


@pytest.mark.slow
def test_nor_does_a_terminal_of_its_own_get_any(hostile: Any, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "optuna_study", "trials", "small", "--storage", hostile.url],
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
    )
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 4096):
            seen += part
    except OSError:  # Linux's word for the end of a terminal
        pass
    assert done.wait(60) == 0
    text = seen.decode().replace("\r\n", "\n")
    assert "\\u001b[2J" in text
    assert not OBEYED.search(EMPHASIS.sub("", text))
