"""A smaller storm with the real workers: a launch that trains with torch, killed at and at.

`python tests/benchmarks/torch_storm.py`. The same study is then launched again without any kill in
another store, and the curves compared to the last bit. Prints one line of JSON about the machine
and one of figures.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence import counted, watch
from stand import machine, say

from optuna_study.launch.local import ThisMachine
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.launch.supervise import WorkerPool
from optuna_study.paths import Workspace
from optuna_study.store.reads import aggregates, reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.launch.task import StudyTask, Tick

STUDY = """
title = "Digits, under fire"
[data]
name = "digits"
image_size = 16
subset = {subset}
[model]
{model}
dropout = 0.1
[train]
epochs = {epochs}
batch_size = 64
optimizer = "adam"
lr = 0.001
threads = 1
[search]
trials = {trials}
sampler = "random"
confirm = {{top = 1, seeds = 1}}
pruner = "none"
[space]
activation = ["relu", "tanh"]
lr = {{low = 1e-4, high = 0.01, log = true}}
dropout = {{low = 0.0, high = 0.5, step = 0.1}}
"""

FULL = {"subset": 1.0, "model": 'name = "alexnet"\nvariant = "single_tower"\nwidth = 0.1'}
# By `--light`: a trial of fewer pictures takes as long and computes less.
LIGHT = {"subset": 0.2, "model": 'name = "patient:alexnet"'}


def study_text(arguments: argparse.Namespace) -> str:
    """The study's file."""
    size = LIGHT if arguments.light else FULL
    return STUDY.format(epochs=arguments.epochs, trials=arguments.trials, **size)


@dataclass
class Killer:
    """Kills a worker every so many seconds, one whose trial got further since its last kill.

    So every trial ends, however slow the machine: what three deaths in a row without a new
    checkpoint come to is another question.
    """

    every: float
    draw: random.Random
    most: int | None = None
    due: float = 0.0
    kills: int = 0
    reached: dict[int, int] = field(default_factory=dict)  # by trial: its checkpoint's epoch

    def __call__(self, prepared: StudyTask, tick: Tick) -> None:
        if time.monotonic() < self.due or self.kills == self.most:
            return
        pids = {worker.name: worker.pid for worker in tick.workers if worker.pid is not None}
        victims = [
            (trial.number, trial.checkpoint_epoch, pids[trial.owner])
            for trial in reads.trials(prepared.store, prepared.study, with_parameters=False)
            if trial.owner in pids
            if trial.checkpoint_epoch > self.reached.get(trial.number, 0)
        ]
        if victims:
            number, epoch, pid = self.draw.choice(victims)
            self.reached[number] = epoch
            os.kill(pid, signal.SIGKILL)
            self.kills += 1
            self.due = time.monotonic() + self.every


def launched(
    root: Path, arguments: argparse.Namespace, killer: Killer | None = None
) -> tuple[StudyTask, float]:
    """Launch the study below `root` and run it to its end; how many seconds that took."""
    root.mkdir(exist_ok=True)
    file = root / "storm.toml"
    file.write_text(study_text(arguments), "utf-8")
    prepared = prepare(
        LaunchRequest(
            str(file), profile="full", workspace=Workspace(root), workers=arguments.workers
        )
    )
    watch(prepared.store)
    began = time.monotonic()
    with WorkerPool(prepared, ThisMachine()) as pool:
        for tick in pool.ticks(every=0.1):
            if killer is not None:
                killer(prepared, tick)
    return prepared, time.monotonic() - began


def storm(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the study under fire and in peace, and count what became of it."""
    killer = Killer(arguments.kill_every, random.Random(arguments.seed), arguments.most_kills)
    prepared, seconds = launched(folder / "storm", arguments, killer)
    shutil.copytree(folder / "storm" / "cache", folder / "calm" / "cache")
    peaceful, calm_seconds = launched(folder / "calm", arguments)
    calm = aggregates.curves(peaceful.store, peaceful.study)
    figures = counted(prepared.store, prepared.study, lambda trial: calm[trial.number])
    peaceful.store.close()
    prepared.store.close()
    return {
        "seconds": round(seconds, 1),
        "calm_seconds": round(calm_seconds, 1),
        "kills": killer.kills,
        **figures,
    }


def parsed(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--kill-every", type=float, default=3.0, help="seconds")
    parser.add_argument("--most-kills", type=int, help="default: no end of them")
    parser.add_argument("--light", action="store_true", help="epochs that mostly rest")
    parser.add_argument("--seed", type=int, default=1, help="of who is killed")
    return parser.parse_args(given)


def main() -> int:
    arguments = parsed()
    say(**machine(), **vars(arguments))
    with tempfile.TemporaryDirectory() as folder:
        say(**storm(Path(folder), arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
