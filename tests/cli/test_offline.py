"""The way from a folder of pictures to a prediction on a machine without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from pathlib import Path

NO_NETWORK = ["unshare", "--net"]


def can_unshare() -> bool:
    """Whether processes may be given a network of their own, with nothing in it."""
    if shutil.which(NO_NETWORK[0]) is None:
        return False
    return not subprocess.run([*NO_NETWORK, "true"], check=False, capture_output=True).returncode


def draw(folder: Path) -> None:
    """Twelve discs and twelve crosses."""
    for label in ("crosses", "discs"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            picture = Image.new("RGB", (64, 64), (number * 20, 90, 255 - number * 20))
            pen, place = ImageDraw.Draw(picture), 8 + number
            box = (place, place, place + 36, place + 36)
            if label == "discs":
                pen.ellipse(box, fill="white")
            else:
                pen.line(box, fill="white", width=9)
                pen.line((place, place + 36, place + 36, place), fill="white", width=9)
            picture.save(folder / label / f"{number}.png")


@pytest.mark.slow
@pytest.mark.skipif(not can_unshare(), reason="taking the network away needs root and unshare")
def test_a_folder_becomes_a_model_that_predicts(tmp_path: Path) -> None:
    pictures = tmp_path / "shapes"
    draw(pictures)
    # Nothing of the home folder's caches either.
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    for variable in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        environment.pop(variable, None)

    def command(*arguments: str, place: Path = tmp_path) -> str:
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            [*NO_NETWORK, sys.executable, "-m", "optuna_study", *arguments],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    few = ["--n-trials", "1", "--no-confirm", "--workers", "1"]
    command("launch", "shapes", *few, "--device", "cpu")
    assert (tmp_path / "studies" / "shapes.toml").is_file()
    trials = json.loads(command("trials", "shapes@cpu", "-f", "json"))
    assert [each["state"] for each in trials] == ["COMPLETE"] * 5
    for number in ("0", "2"):  # a head, and a last stage
        clean = tmp_path / f"clean-{number}"
        exported = clean / "best.toml"
        clean.mkdir()
        command("export", "shapes@cpu", "--trial", number, "-o", str(exported))
        assert 'weights = "timm:tf_efficientnet_lite0 sha256:' in exported.read_text()
        told = command("train", "best.toml", "-o", "out", "--verify", place=clean)
        assert "agree to the last bit" in told
    shown = [str(pictures / "discs" / "3.png"), str(pictures / "crosses" / "5.png")]
    answers = json.loads(command("predict", "clean-0/out/model.pt", *shown, "-f", "json"))
    assert [each["class"] for each in answers] == ["discs", "crosses"]
