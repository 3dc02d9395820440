"""Studies whose pictures or model kill the process that opens them, through the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from optuna_study.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.paths import Workspace

pytestmark = pytest.mark.slow

MODEL = """
import os, pathlib, signal, torch
def build(settings, *, channels, image_size, classes):
    if pathlib.Path({switch!r}).exists():
        os.kill(os.getpid(), signal.SIGSEGV)
    flat = channels * image_size ** 2
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(flat, classes))
"""


@pytest.fixture
def store(
    tmp_path: Path,
    study_text: str,
    warm: Callable[[Path], Workspace],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[bool], list[str]]:
    """A store with a study that has come to kill whoever opens it, and perhaps a good one."""

    def make(with_another: bool) -> list[str]:
        switch = tmp_path / "switch"
        (tmp_path / "deadly_model.py").write_text(MODEL.format(switch=str(switch)))
        monkeypatch.syspath_prepend(str(tmp_path))
        text = study_text.replace("epochs = 10", "epochs = 1")
        (tmp_path / "good.toml").write_text(text)
        plain = 'name = "alexnet"\nvariant = "single_tower"\nwidth = 0.05\ndropout = 0.1\n'
        deadly = text.replace(plain, 'name = "deadly_model:build"\n')
        assert deadly != text
        (tmp_path / "deadly.toml").write_text(deadly)
        place = ["--artifacts", str(warm(tmp_path / "storage").root)]
        for name in ["deadly", "good"][: 2 if with_another else 1]:
            file, options = str(tmp_path / f"{name}.toml"), ["--profile", "cpu", "--detach"]
            assert run(["launch", file, "--n-trials", "3", *options, *place]) == 0
        switch.touch()
        return place

    return make


def test_the_others_are_served(
    store: Callable[[bool], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["worker", "--allow", "deadly_model", "--workers", "1", *store(True)]) == 0
    said = capfd.readouterr().err
    assert said.count("deadly@cpu: left out, since the workers that open it die") == 1
    assert said.count("was killed by SIGSEGV; log:") == 2
    assert "good@cpu" in said


@pytest.mark.parametrize("study", [[], ["deadly"]])
def test_where_nothing_else_is_there_the_command_fails(
    store: Callable[[bool], list[str]], capfd: pytest.CaptureFixture[str], study: list[str]
) -> None:
    assert run(["worker", *study, "--allow", "deadly_model", "--workers", "2", *store(False)]) == 3
    said = capfd.readouterr().err
    assert said.count("deadly@cpu: left out, since the workers that open it die") == 1
    assert re.search(r"look at its\s+pictures and its model", said)
    assert "Traceback" not in said
