"""The job of plain_loops.py by Syne Tune, as its guide has it: a script a trial, BOHB over them.

BOHB is its ASHA with densities that propose, what Ray Tune's side has; each trial is a process of
its own, this file with `--split`, which trains by P1's loop. Between two looks at them it sleeps a
tenth of a second, not its usual five.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_loops import EPOCHS, Split, net, new_optimizer, p1_epochs

SCRIPT = Path(__file__).absolute()
LOOK = 0.1  # seconds


def search(split: Split, trials: int, place: Path) -> tuple[float, list[float]]:
    """The best accuracy of so many trials, and when each ended."""
    os.environ["SYNETUNE_FOLDER"] = str(place)  # before it is imported
    from syne_tune import StoppingCriterion, Tuner, config_space
    from syne_tune.backend import LocalBackend
    from syne_tune.optimizer.baselines import BOHB
    from syne_tune.tuner_callback import TunerCallback

    class Watch(TunerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.best, self.ends = 0.0, dict[int, float]()

        def on_trial_result(self, trial: Any, status: str, result: Any, decision: str) -> None:
            self.best = max(self.best, result["accuracy"])
            self.ends[trial.trial_id] = time.time()

    os.chdir(place)  # where it writes what it says
    file = place / "split.npz"
    (images, labels), (held_out, truth) = split.train, split.validation
    np.savez(file, images=images, labels=labels, held_out=held_out, truth=truth)
    watch = Watch()
    Tuner(
        trial_backend=LocalBackend(entry_point=str(SCRIPT)),
        scheduler=BOHB(
            {
                "split": str(file),
                "dropout": config_space.uniform(0.0, 0.5),
                "optimizer": config_space.choice(["Adam", "RMSprop", "SGD"]),
                "lr": config_space.loguniform(1e-4, 0.1),
            },
            metric="accuracy",
            time_attr="epoch",
            max_t=EPOCHS,
            do_minimize=False,
        ),
        stop_criterion=StoppingCriterion(max_num_trials_started=trials),
        n_workers=1,
        sleep_time=LOOK,
        wait_trial_completion_when_stopping=True,
        callbacks=[watch],
    ).run()
    return watch.best, list(watch.ends.values())


def main() -> None:
    from syne_tune import Reporter

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", required=True)
    parser.add_argument("--dropout", type=float, required=True)
    parser.add_argument("--optimizer", required=True)
    parser.add_argument("--lr", type=float, required=True)
    given, _ = parser.parse_known_args()  # it gives a folder for checkpoints, too
    torch.set_num_threads(1)
    kept = np.load(given.split)
    split = Split((kept["images"], kept["labels"]), (kept["held_out"], kept["truth"]), classes=10)
    model = net(split, given.dropout)
    optimizer = new_optimizer(model, given.optimizer, given.lr, fused=True)
    report = Reporter()
    for epoch, accuracy in enumerate(p1_epochs(model, optimizer, split), start=1):
        report(epoch=epoch, accuracy=accuracy)


if __name__ == "__main__":
    main()
