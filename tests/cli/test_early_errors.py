"""What is plainly wrong is said before anything large is imported or any process is started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

LARGE = ("torch", "optuna", "plotly", "pandas", "optuna_dashboard", "multiprocessing.forkserver")
SCRIPT = f"""
import contextlib, io, json, sys
from optuna_study.cli.main import run
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = run(arguments)
    print(json.dumps([code, said.getvalue(), [n for n in {LARGE!r} if n in sys.modules]]))
"""


@pytest.mark.slow
def test_mistakes_are_told_before_anything_large_is_loaded(
    stored_study: Any, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    place = ("--storage", stored_study.url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expected = {
            ("dashboard", *place, "--port", str(port)): (2, f"127.0.0.1:{port}: cannot listen"),
            ("report", "small", *place, "-o", "a.pdf"): (2, "a.pdf: a report's file ends in"),
            ("plot", "small", "history", *place, "-o", "a.txt"): (2, "a.txt: a figure's file"),
            ("export", "small", *place, "-o", "a.ini"): (2, "a.ini: a configuration's file"),
            ("launch", "pictures/cats", *place): (4, "'pictures/cats': no such study file"),
            ("launch", "finetume", *place): (4, "study 'finetume': no file finetume.toml in"),
            ("launch", "cats.toml", *place): (4, "'cats.toml': no such study file"),
            ("launch", "finetune", *place, "--data", "cats"): (2, "cats: no such folder; give"),
            ("predict", "model.pt", "cat.png"): (4, "model.pt: no such model; `optuna-study"),
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(list(expected))],
            cwd=here,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [code for code, _, _ in said] == [code for code, _ in expected.values()]
    for (_, line, large), (_, begins) in zip(said, expected.values(), strict=True):
        assert line.startswith(f"Error: {begins}")
        assert line.count("\n") == 1
        assert large == []
    assert list(here.iterdir()) == []
