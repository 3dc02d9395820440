"""Whether bf16 on a CPU costs accuracy, and what it gains: the same runs in both, by seed.

`python tests/benchmarks/precisions.py [--study NAME] [--seeds N] [--pictures N] [--epochs N]
[--data DIR]`. Trains a study's base configuration in single precision and in bf16 (torch's
autocast), with the same seed and thus the same weights, order and dropout; each first in every
second pair. Prints the accuracies in points, the mean of the paired differences with its standard
error, and the CPU time of both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from profiles import pictures
from stand import load, machine, say

from optuna_study.config.settings import with_settings
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.paths import Workspace
from optuna_study.training import loop
from optuna_study.training.device_data import load_data

if TYPE_CHECKING:
    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SIDES = ("fp32", "bf16")
INSTRUCTIONS = ("avx512_bf16", "amx_bf16")  # without one of them bf16 is emulated


def train(config: TrainConfig, data: DeviceData) -> tuple[float, float]:
    """The last epoch's accuracy in points, and the CPU seconds of the run."""
    torch.set_num_threads(1)
    began = time.process_time()
    *_, last = loop.epochs(loop.prepare(config, data, CPU))
    return 100 * last.validation_accuracy, time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="lenet_cifar10")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--data", type=Path, help="the folder of data sets")
    arguments = parser.parse_args()
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    has = [each for each in INSTRUCTIONS if each in flags]
    say(**machine(), torch=version("torch"), study=arguments.study, bf16=has)
    definition = resolve(read_study_file(ROOT / f"studies/{arguments.study}.toml"), "cpu")
    given = pictures(definition.config.data.name, arguments.data)
    base = with_settings(
        definition.config, {"epochs": arguments.epochs, "picture_limit": arguments.pictures}
    )
    with tempfile.TemporaryDirectory() as place:
        data = load_data(base.data, given, Workspace(Path(place)), CPU, base.train.memory_format)
        found: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
        for seed in range(arguments.seeds):
            for side in SIDES if seed % 2 == 0 else SIDES[::-1]:
                config = with_settings(base, {"precision": side, "seed": seed})
                found[side].append(train(config, data))
    accuracies = {side: [points for points, _ in runs] for side, runs in found.items()}
    differences = [b - a for a, b in zip(*accuracies.values(), strict=True)]
    times = [b / a for (_, a), (_, b) in zip(*found.values(), strict=True)]
    say(
        seeds=arguments.seeds,
        points={side: round(statistics.mean(each), 2) for side, each in accuracies.items()},
        difference=round(statistics.mean(differences), 2),
        standard_error=round(statistics.stdev(differences) / len(differences) ** 0.5, 2),
        time=round(statistics.median(times), 2),
        times=[round(min(times), 2), round(max(times), 2)],
        load=load(),
    )


if __name__ == "__main__":
    main()
