"""Ours beside the plain loops, alternating: one Markdown table for docs/benchmarks.md.

`python tests/benchmarks/suite.py [--rounds N] [--only ROW ...] [--data DIR] > table.md`. Rows that
need a second state of the repository, such as a lever's before and after, are start.py's and
trial_cost.py's. Figures are medians over the rounds, mostly of the CPU time of all processes that
a side has, with the smallest and largest ratio of a round; sides go first by turns. Progress goes
to stderr as lines of JSON.

- `search`: trials of 10 epochs of a fully connected net on 5,120 pictures of MNIST, or on the
  built-in digits, one at a time, P0, P1 and `launch --workers 1` without pruning, whole processes
  with their start and their store; all must reach the same accuracy, but for sides.GATE. Ray Tune
  and Syne Tune stand beside them where they are installed, and give trials up, as they usually do.
- `start`: seconds to the first step of such a process.
- `steps`: steps of the studies' own nets beside P1's of the same net (steps.py).
- `loading`: what a worker spends on MNIST's pictures, decoded before, in a process of its own.
- `reading`: `list`, `show`, `trials` and `doctor` on 20,000 trials.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sides import Found, Row, children, launched, note, print_table, search_rows, tell_side

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plain_loops import Split

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
OTHERS = {  # measured where they are installed: what each needs
    "Ray Tune": "ray.tune.search.optuna",
    "Syne Tune": "syne_tune.optimizer.schedulers.searchers.kde",
}
SIDES = ("ours", "P0", "P1", *OTHERS)
TRIALS = 12  # of the row `search`, for each side; `STUDY` says it, too
PICTURES = 5120  # of MNIST: 32 batches of 128 to train on, 8 to validate on
LARGE = 20_000  # trials of the store that is read
STUDY = """
title = "Digits beside plain loops"
[data]
name = "{name}"
image_size = {size}
[model]
name = "mlp"
variant = "100"
[train]
epochs = 10
batch_size = 128
threads = 1
[search]
trials = 12
pruner = "none"
[space]
dropout = {{low = 0.0, high = 0.5}}
optimizer = ["adam", "rmsprop", "sgd"]
lr = {{low = 1e-4, high = 0.1, log = true}}
"""


def beside(rounds: int, data: Path | None) -> list[Row]:
    """The search of every side that is installed."""
    given = ["--data", str(data)] if data else []
    commands = {}
    for name in SIDES:
        missing = why_not(OTHERS[name]) if name in OTHERS else ""
        if missing:
            note(row="search", side=name, skipped=missing)
        else:
            commands[name] = [sys.executable, str(HERE / "suite.py"), "--side", name, *given]
    return search_rows(commands, rounds, f"{TRIALS} trials")


def why_not(module: str) -> str:
    """Why a module cannot be imported; empty where it can."""
    code = [sys.executable, "-c", f"import {module}"]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def one_side(name: str, data: Path | None, place: Path) -> Callable[[], Found]:
    """The search of a side."""
    pictures = small_mnist(data, place)
    return our_search(place, pictures) if name == "ours" else plain_search(name, place, pictures)


def small_mnist(data: Path | None, place: Path) -> Path | None:
    """MNIST's first training pictures, `PICTURES` of them, as a file that `launch` reads as MNIST.

    None where the folder of data sets has no MNIST: the search then is one of the built-in digits.
    """
    import numpy as np
    from profiles import pictures

    whole = pictures("mnist", data)
    if whole is None:
        return None
    file = place / "mnist.npz"
    with np.load(whole) as kept:
        np.savez(
            file,
            x_train=kept["x_train"][:PICTURES],
            y_train=kept["y_train"][:PICTURES],
            x_test=kept["x_test"][:100],
            y_test=kept["y_test"][:100],
        )
    return file


def our_search(place: Path, pictures: Path | None) -> Callable[[], Found]:
    """A launch."""
    name, size, data = ("mnist", 28, ["--data", str(pictures)]) if pictures else ("digits", 8, [])
    return launched(STUDY.format(name=name, size=size), place, "--workers", "1", *data)


def plain_search(name: str, place: Path, pictures: Path | None) -> Callable[[], Found]:
    """The search of another side."""
    import plain_loops

    split = plain_split(pictures)
    if name == "Ray Tune":
        import tune_loop

        found = Found(*tune_loop.search(split, TRIALS, place))
    elif name == "Syne Tune":
        import syne_loop

        found = Found(*syne_loop.search(split, TRIALS, place))
    else:
        objective = plain_loops.p0_trial if name == "P0" else plain_loops.p1_trial
        url = f"sqlite:///{place / 'plain.db'}"
        found = Found(*plain_loops.search(objective, split, TRIALS, url))
    return lambda: found


def plain_split(pictures: Path | None) -> Split:
    """As many pictures to train on and to validate on as ours has."""
    import numpy as np
    from plain_loops import Split

    if pictures is None:
        from sklearn.datasets import load_digits  # two seconds, which MNIST does without

        digits = load_digits()
        images, labels = (digits.images * (255 / 16)).astype(np.uint8), digits.target
        train, validation = 1150, 288  # 64 and 16 %, as ours are split
    else:
        with np.load(pictures) as kept:
            images, labels = kept["x_train"], kept["y_train"].astype(np.int64)
        train, validation = PICTURES * 4 // 5, PICTURES // 5
    order = np.random.default_rng(0).permutation(len(images))
    seen, held_out = order[:train], order[train : train + validation]
    return Split((images[seen], labels[seen]), (images[held_out], labels[held_out]), classes=10)


def step_rows(rounds: int, data: Path | None) -> list[Row]:
    from steps import SIDES as NETS
    from steps import STEPS, Side, alternate_looks

    found = []
    for what in STEPS:
        sides = {name: Side(name, what, data) for name in NETS}
        taken = alternate_looks(sides, rounds, what)
        for each in sides.values():
            each.close()
        found.append(Row(f"step, {what}", "ms", taken))
    return found


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
            fine = (0, 1) if words[0] == "doctor" else (0,)  # 1: it has found something
            taken = [children(command, where, fine=fine)[0] for _ in range(rounds)]
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
    "search": beside,
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
        tell_side(partial(one_side, arguments.side, arguments.data))
        return
    chosen = arguments.only or ROWS
    print_table(
        lambda: [row for name in chosen for row in ROWS[name](arguments.rounds, arguments.data)],
        arguments.rounds,
    )


if __name__ == "__main__":
    main()
