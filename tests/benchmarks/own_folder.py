"""A folder of pictures searched by two processes, no trial given up: ours beside P0.

`python tests/benchmarks/own_folder.py FOLDER [--rounds N] > table.md`, where FOLDER has a folder
for each class. Both sides search rate and dropout of the same AlexNet (48 pixels, a quarter of the
width, batches of 16, momentum) with Optuna's TPE in an SQLite store. P0's objective is after
Optuna's example, for a folder: a DataLoader whose data set opens, scales and converts each picture
whenever it is wanted, torch's own local response norm and optimizer as they come, pictures in
memory as torch has them. Whole commands with their start; ours finds no picture decoded.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sides import Found, launched, print_table, search_rows, tell_side

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

TRIALS, WORKERS = 6, 2  # `STUDY` says the trials, too
STUDY = """
title = "A folder beside a plain loop"
data = {name = "folder", image_size = 48, augmentation = "none"}
search = {trials = 6, pruner = "none"}
[model]
name = "alexnet"
variant = "single_tower"
normalisation = "lrn"
lrn_formula = "article"
initialisation = "he"
width = 0.25
[train]
epochs = 10
batch_size = 16
optimizer = "momentum"
threads = 1
memory_format = "channels_last"
[space]
dropout = {low = 0.2, high = 0.6}
lr = {low = 1e-3, high = 0.03, log = true}
"""


def our_search(folder: Path, place: Path) -> Callable[[], Found]:
    """A launch."""
    return launched(STUDY, place, "--workers", str(WORKERS), "--data", str(folder))


def plain_search(folder: Path, place: Path) -> Callable[[], Found]:
    """P0 in two processes on one store."""
    import optuna
    from plain_loops import found

    url = f"sqlite:///{place / 'plain.db'}"
    study = optuna.create_study(study_name="plain", storage=url, direction="maximize")
    file = place / "beside.toml"
    file.write_text(STUDY, encoding="utf-8")
    study.set_user_attr("file", str(file))  # its net is made by the same settings
    command = [sys.executable, __file__, str(folder), "--worker-of", url]
    running = [subprocess.Popen(command) for _ in range(WORKERS)]
    if any([each.wait() for each in running]):
        raise SystemExit("a process of P0 has failed")
    return lambda: Found(*found(study))


def work(folder: Path, url: str) -> None:
    """A process of P0: its part of the trials."""
    import optuna
    import torch

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name="plain", storage=url)
    study.optimize(partial(p0_trial, folder), n_trials=TRIALS // WORKERS)


def p0_trial(folder: Path, trial: optuna.Trial) -> float:
    """One trial of P0."""
    import torch
    from plain_loops import p0_epochs, reported
    from steps import plain_net
    from torch.utils.data import DataLoader, random_split
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

    from optuna_study.config.settings import with_settings
    from optuna_study.definition.read import read_study_file
    from optuna_study.definition.resolve import resolve

    config = resolve(read_study_file(Path(trial.study.user_attrs["file"])), "full").config
    size, batch = config.data.image_size, config.train.batch_size
    pictures = ImageFolder(str(folder), Compose([Resize(size), CenterCrop(size), ToTensor()]))
    parts = [round(share * len(pictures)) for share in (0.64, 0.16)]
    seen, held_out, _ = random_split(
        pictures,
        [*parts, len(pictures) - sum(parts)],
        torch.Generator().manual_seed(0),
    )
    model = plain_net(
        with_settings(config, {"dropout": trial.suggest_float("dropout", 0.2, 0.6)}),
        channels=3,
        image_size=size,
        classes=len(pictures.classes),
    )
    lr = trial.suggest_float("lr", 1e-3, 0.03, log=True)
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    train = DataLoader(seen, batch, shuffle=True)
    validation = DataLoader(held_out, batch, shuffle=True)
    return reported(trial, p0_epochs(model, optimizer, train, validation, config.train.epochs))


SIDES = {"ours": our_search, "P0": plain_search}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--worker-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    if arguments.worker_of is not None:
        work(folder, arguments.worker_of)
        return
    if arguments.side is not None:
        tell_side(partial(SIDES[arguments.side], folder), WORKERS)
        return
    commands = {name: [sys.executable, __file__, str(folder), "--side", name] for name in SIDES}
    print_table(
        lambda: search_rows(commands, arguments.rounds, f"{TRIALS} trials by two processes"),
        arguments.rounds,
    )


if __name__ == "__main__":
    main()
