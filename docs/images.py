"""Make the README's pictures from a study: its report, and its live table.

    python docs/images.py flowers report    # writes docs/images/report.png
    python docs/images.py flowers live      # while it runs: writes docs/images/live.png

Needs chromium. The store is the one that `optuna-study show flowers` reads.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from rich.console import Console

import optuna_study
from optuna_study.paths import Workspace
from optuna_study.report.follow import Follower
from optuna_study.report.live import view
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store

if TYPE_CHECKING:
    from optuna_study.store.records import TrialRecord

IMAGES = Path(__file__).with_name("images")
COLOURS = 128
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking")


def screenshot(page: Path, image: Path, width: int, height: int) -> None:
    """A PNG of the upper part of an HTML file, in pixels."""
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=8000"]
        place = [f"--window-size={width},{height}", f"--screenshot={image}", page.as_uri()]
        subprocess.run([*command, *place], check=True, capture_output=True, timeout=120)
    with Image.open(image) as drawn:  # few colours: a third of the bytes
        drawn.convert("RGB").quantize(
            COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        ).save(image, optimize=True)


def main(name: str, kind: str) -> None:
    """Write one of the two pictures."""
    IMAGES.mkdir(exist_ok=True)
    study = optuna_study.load(name)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        if kind == "report":
            study.report(page)
            text = page.read_text(encoding="utf-8")  # without where it was made
            page.write_text(re.sub(r"(?<=\s)/\S+/(?=\w+ · made )", "", text), encoding="utf-8")
            screenshot(page, IMAGES / "report.png", 1100, 950)
            return
        store = open_store(StoreAddress.of_file(Workspace.locate().database))
        follower = Follower(store, study.record)
        look = follower.look()
        recent: list[TrialRecord] = []
        while not look.running or len(recent) < 4:
            time.sleep(0.3)
            look = follower.look()
            recent = [*recent, *look.ended][-6:]
        console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
        console.print(view(look.summary, look.running, recent, time.time()))
        page.write_text(console.export_html(inline_styles=True), encoding="utf-8")
        screenshot(page, IMAGES / "live.png", 1090, 300)


if __name__ == "__main__":
    main(*sys.argv[1:3])
