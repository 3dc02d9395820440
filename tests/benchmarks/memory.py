"""Memory that decoding many pictures takes, and training on them, as their number grows.

`python tests/benchmarks/memory.py [--pictures N ...] [--place DIR]`. Each number of generated
JPEGs of 256 pixels, all different, is decoded for a model that sees 224; another process then
opens what was kept, trains 60 steps on pictures from everywhere in it, and looks at 512. Figures
are the most megabytes of proportional set size (PSS) of the processes that this one starts, taken
four times a second: what is their own, and the files that they have mapped, which the system takes
back when others need the room. The place needs 0.4 MB a picture while it decodes.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image
from stand import machine, say

CLASSES, COARSE, SIDE, IMAGE_SIZE = 10, 12, 256, 224
STEPS, EVALUATED = 60, 512


def generate(folder: Path, pictures: int) -> None:
    """JPEGs of smooth noise, as many in each class."""
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(pictures):
        coarse = random.integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        data = io.BytesIO()
        image.save(data, "JPEG", quality=75)
        path = folder / f"class{number % CLASSES}" / f"{number}.jpg"
        path.write_bytes(data.getvalue())


def open_pictures(folder: Path, place: Path, *, train: bool) -> None:
    """Open the pictures, and train on some; in a process of its own."""
    import torch

    from optuna_study.config.reader import Node, Problems, read_config
    from optuna_study.paths import Workspace
    from optuna_study.training import loop
    from optuna_study.training.device_data import load_data
    from optuna_study.training.steps.step import step

    raw = {
        "data": {"name": "folder", "image_size": IMAGE_SIZE, "augmentation": "crop+flip"},
        "model": {"name": "convnet", "width": 0.25},
        "train": {"threads": 1, "batch_size": 32},
    }
    config = read_config(Node(raw, "", Problems()))
    workspace = Workspace(place / "storage")
    data = load_data(config.data, folder, workspace, torch.device("cpu"), "channels_last")
    if not train:
        return
    run = loop.prepare(config, data, torch.device("cpu"))
    noise = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data.train_labels), generator=noise)
    size = config.train.batch_size  # as in an epoch, an incomplete batch is left out
    for batch in torch.split(order[: len(order) // size * size], size)[:STEPS]:
        step(run, batch, noise)
    run.evaluate(data.validation_images[:EVALUATED], data.validation_labels[:EVALUATED])


def measure(command: list[str]) -> tuple[float, int, int]:
    """Seconds of a command, and the most megabytes of its own and of files that it has mapped."""
    began, own, mapped = time.perf_counter(), 0, 0
    process = subprocess.Popen(command)
    while process.poll() is None:
        private, files = 0, 0
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended, or is somebody else's
                number = int(entry.name)
                if os.getpgid(number) == os.getpgid(0) and number != os.getpid():
                    text = (entry / "smaps_rollup").read_text(encoding="utf-8")
                    found = {name: int(value) for name, value in _KILOBYTES.findall(text)}
                    private += found.get("Pss_Anon", 0) + found.get("Pss_Shmem", 0)
                    files += found.get("Pss_File", 0)
        own, mapped = max(own, private // 1024), max(mapped, files // 1024)
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - began, own, mapped


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_KILOBYTES = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="+", default=[2_000, 20_000, 40_000])
    parser.add_argument("--place", type=Path)
    parser.add_argument("--open", choices=["decode", "train"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.open:
        open_pictures(given.place / "pictures", given.place, train=given.open == "train")
        return
    say(**machine(), memory_gib=round(_memory() / 2**30, 1))
    for pictures in given.pictures:
        place = Path(tempfile.mkdtemp(dir=given.place))
        try:
            generate(place / "pictures", pictures)
            for what in ("decode", "train"):
                command = [sys.executable, __file__, "--place", str(place), "--open", what]
                seconds, own, mapped = measure(command)
                say(
                    pictures=pictures,
                    what=what,
                    seconds=round(seconds, 1),
                    own_mb=own,
                    mapped_mb=mapped,
                )
        finally:
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
