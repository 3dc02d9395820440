"""The page about Python, its blocks run in order as they stand."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from optuna_study.cli.main import run

if TYPE_CHECKING:
    from optuna_study.paths import Workspace

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STUDY = """
data = {name = "digits", image_size = 16}
model = {name = "mlp", variant = "50"}
train = {epochs = 1, batch_size = 256, threads = 1, optimizer = "adam"}
search = {trials = 9, pruner = "none"}
[space]
lr = {low = 0.001, high = 0.1, log = true}
[[baselines]]
name = "plain"
settings = {lr = 0.01}
"""


def scripts() -> list[tuple[str, str]]:
    """The page's blocks; Python of several blocks in a row is one script."""
    joined: list[tuple[str, str]] = []
    for language, text in BLOCK.findall((ROOT / "docs/python.md").read_text(encoding="utf-8")):
        starts = text.startswith("import optuna_study")
        if joined and not starts and joined[-1][0] == language == "python":
            text = joined.pop()[1] + text
        joined.append((language, text))
    return joined


@pytest.mark.slow
def test_the_page_runs(
    tmp_path: Path, digits_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its launch in a process of its own, which workers import; the rest, which reads, in this."""
    shutil.copytree(digits_workspace.root, tmp_path / "storage")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "flowers.toml").write_text(STUDY)
    Image.new("L", (16, 16), 128).save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    (_, launch), *rest = scripts()
    (tmp_path / "script.py").write_text(launch)
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "script.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "lr" in done.stdout
    with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
        warnings.simplefilter("default")  # as where no test runs it
        for language, text in rest:
            if language == "python":
                exec(compile(text, "script.py", "exec"), {"__name__": "__main__"})
                continue
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                assert (program, run(arguments)) == ("optuna-study", 0)
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "params_lr" in printed.getvalue()
    assert "('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')" in printed.getvalue()
