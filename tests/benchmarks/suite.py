"""Ours beside the plain loops, alternating: one Markdown table for docs/benchmarks.md.

`python tests/benchmarks/suite.py [--rounds N] [--only ROW ...] [--data DIR] > table.md`. Rows that
need a second state of the repository, such as a lever's before and after, are start.py's and
trial_cost.py's. Every figure is the median over the rounds of CPU time, of all processes that a
side has, with the smallest and largest ratio of a round; sides go first by turns. Progress goes to
stderr as lines of JSON.

- `search`: trials of 10 epochs of a fully connected net on the built-in digits, no pruning, one at
  a time, P0, P1 and `launch --workers 1`, whole processes with their start and their store; all
  must reach the same accuracy, but for `GATE`.
- `start`: seconds to the first step of such a process.
- `steps`: an epoch's steps of the studies' own nets beside P1's step of the same net.
- `loading`: what a worker spends on MNIST's pictures, decoded before, in a process of its own.
- `reading`: `list`, `show`, `trials` and `doctor` on 20,000 trials.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stand import load, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch
    from torch import nn

    from optuna_study.config.settings import TrainSettings

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
TUNE = "Ray Tune"
SIDES = ("ours", "P0", "P1", TUNE)
TRIALS = 12  # of the row `search`, for each side
GATE = 0.03  # of the accuracy: what separates the best of a dozen random draws
WINDOW = 1.5  # CPU seconds of steps for each side and round
LARGE = 20_000  # trials of the store that is read
STUDY = f"""
title = "Digits beside plain loops"
[data]
name = "digits"
image_size = 8
[model]
name = "mlp"
variant = "100"
[train]
epochs = 10
batch_size = 128
threads = 1
[search]
trials = {TRIALS}
pruner = "none"
[space]
dropout = {{low = 0.0, high = 0.5}}
optimizer = ["adam", "rmsprop", "sgd"]
lr = {{low = 1e-4, high = 0.1, log = true}}
"""
SMALL = {"picture_limit": 64}  # pictures enough: a step takes no less time for more
STEPS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "fully connected, 64 pictures": ("mnist_fc", {"batch_size": 64}),
    "fully connected, 1 picture": ("mnist_fc", {"batch_size": 1, "picture_limit": 1500}),
    "spiral": ("spiral", {}),
    "LeNet": ("lenet_cifar10", {}),
    "mnist_cnn": ("mnist_cnn", {}),
    "AlexNet, 8 pictures": ("alexnet_pokemon", {"batch_size": 8}),
    "AlexNet, 32 pictures": ("alexnet_pokemon", {"batch_size": 32}),
    "AlexNet, 8 of 227 pixels": ("alexnet_pokemon:full", {"batch_size": 8, **SMALL}),
    "AlexNet, 32 of 227 pixels": ("alexnet_pokemon:full", {"batch_size": 32, **SMALL}),
}

Sides = dict[str, list[float]]


@dataclass(frozen=True)
class Row:
    """One line of the table; figures smaller than their peer's are better."""

    what: str
    unit: str
    sides: Sides  # ours first

    def lines(self) -> list[str]:
        ours = self.sides["ours"]
        cells = []
        for peer, figures in self.sides.items():
            if peer == "ours":
                continue
            ratios = sorted(one / other for one, other in zip(ours, figures, strict=True))
            cells.append(
                f"| {self.what} | {statistics.median(ours):.3g} {self.unit} | {peer} "
                f"| {statistics.median(figures):.3g} {self.unit} "
                f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
            )
        return cells or [
            f"| {self.what} | {statistics.median(ours):.3g} {self.unit} | - | - | - |"
        ]


def note(**figures: Any) -> None:
    sys.stderr.write(json.dumps(figures) + "\n")
    sys.stderr.flush()


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int, what: str) -> Sides:
    """Each side's figure in each round, the first one first in every second round."""
    found: Sides = {side: [] for side in sides}
    for turn in range(rounds):
        for side in list(sides) if turn % 2 == 0 else list(sides)[::-1]:
            found[side].append(sides[side]())
            note(row=what, side=side, figure=round(found[side][-1], 5), load=load())
    return found


def children(command: Sequence[str], **environment: str) -> tuple[float, str]:
    """CPU seconds of a command and what it waited for, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept = {key: value for key, value in os.environ.items() if key != "OPTUNA_STORAGE"}
    done = subprocess.run(
        command, env={**kept, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):  # 1: doctor has found something
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, done.stdout


def search_rows(rounds: int, _data: Path | None) -> list[Row]:
    best: dict[str, list[float]] = {}
    wall: Sides = {}
    memory: dict[str, int] = {}

    def side(name: str) -> Callable[[], float]:
        def one() -> float:
            began = time.perf_counter()
            _, text = children([sys.executable, str(HERE / "suite.py"), "--side", name])
            wall.setdefault(name, []).append(time.perf_counter() - began)
            answer = json.loads(text.splitlines()[-1])
            best.setdefault(name, []).append(answer["best"])
            memory[name] = max(memory.get(name, 0), answer["memory"])
            return float(answer["cpu"])

        return one

    missing = why_without_tune()
    if missing:
        note(row="search", side=TUNE, skipped=missing)
    names = SIDES[:-1] if missing else SIDES
    cpu = alternate({name: side(name) for name in names}, rounds, "search")
    reached = {name: statistics.median(values) for name, values in best.items()}
    note(row="search", accuracy=reached, peak_memory_mb=memory)
    if max(reached.values()) - min(reached.values()) > GATE:
        raise SystemExit(f"the sides do not search the same: {reached}")
    return [
        Row(f"{TRIALS} trials, whole processes, CPU", "s", cpu),
        Row(f"{TRIALS} trials, whole processes, wall", "s", wall),
        Row(
            "of these, peak memory of the largest process",
            "MB",
            {name: [float(memory[name])] * rounds for name in cpu},
        ),
    ]


def why_without_tune() -> str:
    """Why Ray Tune cannot be a side; empty where it can."""
    code = [sys.executable, "-c", "import ray.tune.search.optuna"]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def one_side(name: str) -> None:
    """Run one side of the row `search` in this process, and print what it took.

    It adopts what a side leaves behind, such as a server of workers: its time counts, too.
    """
    import ctypes

    adopt_orphans = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
    ctypes.CDLL(None).prctl(adopt_orphans, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as place:
        best = our_search(Path(place)) if name == "ours" else plain_search(name, Path(place))
        with suppress(ChildProcessError):
            while True:
                os.wait()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    answer = {
        "best": best,
        "cpu": sum(each.ru_utime + each.ru_stime for each in used),
        "memory": max(each.ru_maxrss for each in used) // 1024,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


def our_search(place: Path) -> float:
    """A launch."""
    file = place / "beside.toml"
    file.write_text(STUDY, encoding="utf-8")
    program = [sys.executable, "-m", "optuna_study"]
    where = {"OPTUNA_STUDY_ARTIFACTS": str(place)}
    children(
        [*program, "launch", str(file), "--profile", "full", "--workers", "1", "--no-confirm"],
        **where,
    )
    _, text = children([*program, "show", "beside", "-f", "json"], **where)
    return float(json.loads(text)["best"]["value"])


def plain_search(name: str, place: Path) -> float:
    import numpy as np
    import plain_loops
    from sklearn.datasets import load_digits

    pictures = load_digits()
    images = (pictures.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    train, validation = order[:1150], order[1150:1438]  # 64 and 16 %, as ours are split
    split = plain_loops.Split(
        (images[train], pictures.target[train]),
        (images[validation], pictures.target[validation]),
        classes=10,
    )
    if name == TUNE:
        import tune_loop

        return tune_loop.search(split, TRIALS, place)
    objective = plain_loops.p0_trial if name == "P0" else plain_loops.p1_trial
    return plain_loops.search(objective, split, TRIALS, f"sqlite:///{place / 'plain.db'}")


def step_rows(rounds: int, data: Path | None) -> list[Row]:
    rows = []
    for what, (study, changes) in STEPS.items():
        ours, plain = both_steps(study, changes, data)
        sides = alternate({"ours": ours, "P1": plain}, rounds, what)
        rows.append(Row(f"step, {what}", "ms", sides))
    return rows


def both_steps(
    study: str, changes: Mapping[str, Any], folder: Path | None
) -> tuple[Callable[[], float], Callable[[], float]]:
    """Our training and P1's of one study's net: CPU milliseconds a step."""
    import torch
    from plain_loops import p1_step
    from profiles import pictures

    from optuna_study.config.settings import with_settings
    from optuna_study.definition.read import read_study_file
    from optuna_study.definition.resolve import resolve
    from optuna_study.paths import Workspace
    from optuna_study.training import loop
    from optuna_study.training.device_data import load_data, to_model_input

    study, _, profile = study.partition(":")
    definition = resolve(read_study_file(ROOT / f"studies/{study}.toml"), profile or "cpu")
    name = definition.config.data.name
    given = None if profile else pictures(name, folder)
    config = with_settings(
        definition.config,
        {"epochs": 10**6, "threads": 1, "augmentation": "none", **changes},
    )
    if not given and name != "spiral":
        config = replace(config, data=replace(config.data, name="rendered"))
    workspace, device = Workspace(Path(tempfile.mkdtemp())), torch.device("cpu")
    data = load_data(config.data, given, workspace, device, config.train.memory_format)
    run = loop.prepare(config, data, device)

    def ours() -> float:
        began, steps = time.process_time(), 0
        while time.process_time() - began < WINDOW:
            trained = loop.train_epoch(run, 1)
            assert trained is not None
            steps += len(trained.losses)
        return 1000 * (time.process_time() - began) / max(steps, 1)

    other = loop.prepare(config, data, device)
    images = to_model_input(other.data.train_images, other.data)
    labels, size = other.data.train_labels, other.batch_size
    optimizer = plain_optimizer(config.train, other.model)

    def plain() -> float:
        other.model.train()
        began, steps = time.process_time(), 0
        while time.process_time() - began < WINDOW:
            order = torch.randperm(len(labels))
            for batch in order[: len(labels) // size * size].view(-1, size).unbind():
                p1_step(other.model, optimizer, images[batch], labels[batch])
                steps += 1
                if time.process_time() - began > WINDOW:
                    break
        return 1000 * (time.process_time() - began) / steps

    return ours, plain


def plain_optimizer(settings: TrainSettings, model: nn.Module) -> torch.optim.Optimizer:
    """Torch's own, in its fused form."""
    import torch

    if settings.optimizer in ("sgd", "momentum"):
        momentum = settings.momentum if settings.optimizer == "momentum" else 0.0
        return torch.optim.SGD(model.parameters(), settings.lr, momentum, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), settings.lr, fused=True)
    raise SystemExit(f"no plain optimizer beside {settings.optimizer}")


def start_rows(rounds: int, _data: Path | None) -> list[Row]:
    import start

    found = [start.measure(ROOT / "src", "spiral", "measured", 2) for _ in range(rounds)]
    walls, cpus = zip(*found, strict=True)
    return [
        Row("launch to first step, wall", "s", {"ours": list(walls)}),
        Row("launch to first step, CPU", "s", {"ours": list(cpus)}),
    ]


def reading_rows(rounds: int, _data: Path | None) -> list[Row]:
    with tempfile.TemporaryDirectory() as place:
        url = f"sqlite:///{place}/large.db"
        make = [sys.executable, str(HERE / "make_store.py"), url]
        children([*make, "--trials", str(LARGE), "--epochs", "20"])
        where = {"OPTUNA_STORAGE": url, "OPTUNA_STUDY_ARTIFACTS": place}
        rows = []
        for words in (("list",), ("show", "large"), ("trials", "large"), ("doctor", "large")):
            command = [sys.executable, "-m", "optuna_study", *words]
            taken = [children(command, **where)[0] for _ in range(rounds)]
            rows.append(Row(f"`{words[0]}` on {LARGE:,} trials, CPU", "s", {"ours": taken}))
        return rows


def loading_rows(rounds: int, data: Path | None) -> list[Row]:
    """What is loaded by a process that has imported torch, as workers' server has."""
    from profiles import pictures

    if pictures("mnist", data) is None:
        note(row="loading", skipped="no folder of data sets with MNIST in it")
        return []
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, str(HERE / "suite.py"), "--data", str(data), "--load", place]
        children(command)  # decodes them
        taken = [float(children(command)[1].splitlines()[-1]) for _ in range(rounds)]
    return [Row("MNIST loaded by a worker, CPU", "s", {"ours": taken})]


def load_mnist(folder: Path | None, place: Path) -> None:
    """Print the CPU seconds of loading MNIST's pictures from a workspace's cache."""
    import torch
    from profiles import pictures

    from optuna_study.definition.read import read_study_file
    from optuna_study.definition.resolve import resolve
    from optuna_study.paths import Workspace
    from optuna_study.training.device_data import load_data

    config = resolve(read_study_file(ROOT / "studies/mnist_fc.toml"), "full").config
    began = time.process_time()
    load_data(config.data, pictures("mnist", folder), Workspace(place), torch.device("cpu"))
    sys.stdout.write(f"{time.process_time() - began}\n")


ROWS: Mapping[str, Callable[[int, Path | None], list[Row]]] = {
    "search": search_rows,
    "start": start_rows,
    "steps": step_rows,
    "loading": loading_rows,
    "reading": reading_rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW")
    parser.add_argument("--data", type=Path, help="the folder of data sets")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load is not None:
        load_mnist(arguments.data, arguments.load)
        return
    if arguments.side is not None:
        one_side(arguments.side)
        return
    here = {**machine(), "torch": version("torch")}
    note(**here)
    rows: list[Row] = []
    for name in arguments.only or ROWS:
        rows += ROWS[name](arguments.rounds, arguments.data)
    told = ", ".join(f"{key} {value}" for key, value in here.items())
    lines = [f"{arguments.rounds} rounds; {told}", ""]
    lines += ["| what | ours | peer | peer's | ours / peer's (least to most) |"]
    lines += ["|---|---|---|---|---|"]
    lines += [line for row in rows for line in row.lines()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
