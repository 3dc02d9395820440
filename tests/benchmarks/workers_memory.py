"""The memory of several workers on the same pictures, beside that of one and as many models.

`python tests/benchmarks/workers_memory.py [--workers N] [--pictures N]`. Random pictures, as an
.npz file would bring them, for the full AlexNet of `alexnet_pokemon` (227 pixels, batches of 8,
momentum). Processes are forked from one that has imported torch, as a launch's are; each loads
the pictures, reads all of them, takes two steps and waits for the others. The sum of their
proportional set sizes counts what they share once. It may grow by no more than models: weights,
gradients and momentum. One line of JSON.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from stand import load, machine, say

from optuna_study.config.settings import with_settings
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.paths import Workspace
from optuna_study.training import device, loop
from optuna_study.training.device_data import load_data, view
from optuna_study.training.steps.stepper import stepper_of

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier, Event

ROOT = Path(__file__).parents[2]
FORK = get_context("fork")
CPU = torch.device("cpu")
SIDE = 256  # of the pictures, from which 227 pixels are cropped


def work(place: Path, file: Path, ready: Barrier, done: Event, models: Queue[int]) -> None:
    """What a worker holds in its first trial, until `done` is set."""
    torch.set_num_threads(1)
    device.keep_freed_pages()
    config = resolve(read_study_file(ROOT / "studies/alexnet_pokemon.toml"), "full").config
    config = replace(config, data=replace(config.data, name="cifar10"))
    changes: dict[str, int | str] = {
        "batch_size": 8,
        "optimizer": "momentum",
        "threads": 1,
        "picture_limit": 16,
    }
    config = with_settings(config, changes)
    data = load_data(
        replace(config.data, picture_limit=0), file, Workspace(place), CPU, "channels_last"
    )
    for part in torch.split(data.train_images, 64):
        part.sum()
    run = loop.prepare(config, view(data, config.data), CPU)
    loop.train_epoch(run, 1, stepper_of(run))
    models.put(3 * 4 * sum(each.numel() for each in run.model.parameters()))
    ready.wait()
    done.wait()


def proportional_set(pid: int) -> int:
    """Bytes of a process, of what it shares its part (Linux)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def measure(place: Path, file: Path, workers: int) -> tuple[int, int]:
    """Bytes of so many workers together, and of one's model."""
    ready, done, models = FORK.Barrier(workers + 1), FORK.Event(), FORK.Queue()
    crew = [
        FORK.Process(target=work, args=(place, file, ready, done, models)) for _ in range(workers)
    ]
    for each in crew:
        each.start()
    ready.wait()
    size = sum(proportional_set(each.pid) for each in crew if each.pid is not None)
    done.set()
    model = models.get()
    for each in crew:
        each.join()
    return size, model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=4000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        place, file = Path(made), Path(made) / "cifar10.npz"
        random, count = np.random.default_rng(1), arguments.pictures
        pictures = random.integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8)
        np.savez(file, x_train=pictures, y_train=np.arange(count) % 10)
        del pictures
        measure(place, file, 1)  # builds the cache
        one, model = measure(place, file, 1)
        several, _ = measure(place, file, arguments.workers)
    bound = one + (arguments.workers - 1) * model
    say(
        **machine(),
        pictures=count,
        workers=arguments.workers,
        megabytes={"one": one // 10**6, "several": several // 10**6, "model": model // 10**6},
        over_one_and_models=round(several / bound, 2),
        load_after=load(),
    )


if __name__ == "__main__":
    main()
