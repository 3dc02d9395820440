"""How a study's training is best laid out: processes x threads, and the pictures in memory.

`python tests/benchmarks/arrangements.py --cache DIR [STUDY[:PROFILE]...] [--data DIR]`.
Each arrangement keeps all cores busy with the study's own base configuration for some seconds;
all are measured in each round, the first one first in every second. Prints steps per second of
all processes together, by the clock and by the CPU seconds they took, as medians, with the
smallest and largest ratio to what `launch` does. Run it on a machine that does nothing else:
threads that wait for each other wait long for a core that others have.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from profiles import pictures
from stand import load, machine, say

from optuna_study.config.settings import with_settings
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.paths import Workspace
from optuna_study.training.backbone.timm_models import own_scale
from optuna_study.training.device_data import load_data
from optuna_study.worker.preflight import train_for

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

ROOT = Path(__file__).parents[2]
STUDIES = ("mnist_fc", "lenet_cifar10", "alexnet_pokemon", "alexnet_pokemon:full")
WARM_UP, WINDOW = 1.0, 4.0  # seconds
READY = 600.0  # seconds for all processes to load what they need
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Arrangement:
    processes: int
    threads: int
    memory_format: str

    def __str__(self) -> str:
        return f"{self.processes} x {self.threads}, {self.memory_format}"


ARRANGEMENTS = (  # as `launch` has it first
    Arrangement(CORES, 1, "channels_last"),
    Arrangement(CORES, 1, "contiguous"),
    Arrangement(1, CORES, "channels_last"),
)


def enter(barrier: Barrier) -> None:
    """Keep what the processes of an arrangement wait for each other with."""
    globals()["_barrier"] = barrier


def train(task: tuple[str, Arrangement, Path | None, Path]) -> tuple[float, float]:
    """Steps per second by the clock, and per CPU second, of one process."""
    study, arrangement, folder, place = task
    name, _, profile = study.partition(":")
    definition = resolve(read_study_file(ROOT / f"studies/{name}.toml"), profile or "cpu")
    given = pictures(definition.config.data.name, folder)
    config = with_settings(
        definition.config,
        {
            "threads": arrangement.threads,
            "memory_format": arrangement.memory_format,
            "epochs": 10**6,
        },
    )
    torch.set_num_threads(arrangement.threads)
    device = torch.device("cpu")
    data = load_data(
        config.data, given, Workspace(place), device, arrangement.memory_format, own_scale(config)
    )
    train_for(WARM_UP, config, data, device)
    barrier: Barrier = globals()["_barrier"]
    barrier.wait(READY)
    before = time.process_time()
    steps, seconds = train_for(WINDOW, config, data, device)
    return steps / seconds, steps / (time.process_time() - before)


def measure(study: str, arrangement: Arrangement, folder: Path | None, place: Path) -> Any:
    """Steps per second by the clock of all, and per CPU second of each."""
    context = get_context("spawn")
    barrier = context.Barrier(arrangement.processes)
    with ProcessPoolExecutor(arrangement.processes, context, enter, (barrier,)) as pool:
        tasks = [(study, arrangement, folder, place)] * arrangement.processes
        walls, cpus = zip(*pool.map(train, tasks), strict=True)
    return sum(walls), statistics.mean(cpus)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", default=STUDIES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="the folder of data sets")
    parser.add_argument("--cache", type=Path, required=True, help="a folder for decoded pictures")
    arguments = parser.parse_args()
    say(**machine(), torch=version("torch"))
    for study in arguments.studies:
        found: dict[Arrangement, list[tuple[float, float]]] = {each: [] for each in ARRANGEMENTS}
        for turn in range(arguments.rounds):
            for each in ARRANGEMENTS if turn % 2 == 0 else ARRANGEMENTS[::-1]:
                found[each].append(measure(study, each, arguments.data, arguments.cache))
        ours = found[ARRANGEMENTS[0]]
        for each, rounds in found.items():
            figures: dict[str, Any] = {}
            for clock, kind in enumerate(("second", "cpu_second")):
                ratios = sorted(a[clock] / b[clock] for a, b in zip(rounds, ours, strict=True))
                figures[f"steps_per_{kind}"] = round(
                    statistics.median(one[clock] for one in rounds), 2
                )
                figures[f"{kind}_ratio"] = [
                    round(ratio, 2) for ratio in (ratios[0], statistics.median(ratios), ratios[-1])
                ]
            say(study=study, arrangement=str(each), **figures, load=load())


if __name__ == "__main__":
    main()
