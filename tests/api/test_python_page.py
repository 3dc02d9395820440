"""The page about Python, its blocks run in order as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

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
def test_the_page_runs(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "flowers.toml").write_text(STUDY)
    Image.new("L", (16, 16), 128).save(tmp_path / "picture.png")
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT / "src")}
    printed = ""
    for language, text in scripts():
        if language == "bash":
            text = text.replace("optuna-study", f"{sys.executable} -m optuna_study")
            command = ["bash", "-ec", text]
        else:
            (tmp_path / "script.py").write_text(text)
            command = [sys.executable, "-W", "error::ImportWarning", "script.py"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed += done.stdout
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "params_lr" in printed
    assert "('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')" in printed
