"""By which figure to rank trials: curves of random configurations, and what each figure picks.

    python tests/benchmarks/ranking.py train FILE --study digits.toml --configurations 24
    python tests/benchmarks/ranking.py evaluate FILE...

`train` draws configurations from a study's own space and trains each on several splits of its
pictures (train, validation and test, all drawn anew) and several seeds; it adds a line of JSON a
run to FILE, whole curves with the held-out accuracy of every epoch, and goes on where it was
stopped. `evaluate` draws searches from these: of 24 or 60 configurations of one split, each with
one seed's run, a figure picks the best; what counts is the held-out accuracy of that
configuration's other seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.run import Run

Curve = list[dict[str, Any]]
LATE = 3  # epochs whose mean one of the figures is
SEARCHES = 2000
FAILED = 0.8  # of the best configuration's held-out accuracy: who stays below has failed


def main() -> None:
    """Train, or evaluate what was trained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "evaluate"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--workspace", type=Path, default=Path("storage"))
    parser.add_argument("--configurations", type=int, default=24)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    if given.what == "train":
        train(given)
        return
    for path in given.files:
        for row in evaluate([json.loads(line) for line in path.read_text().splitlines()]):
            cells = [path.stem, *row]
            print("|", *(f"{cell} |" for cell in cells))  # noqa: T201


def train(given: argparse.Namespace) -> None:
    """Train what is missing in the file."""
    import torch

    from optuna_study.config.settings import with_settings
    from optuna_study.definition.read import read_study_file
    from optuna_study.definition.resolve import resolve
    from optuna_study.space.space import build

    definition = resolve(read_study_file(given.study), given.profile, threads=1)
    torch.set_num_threads(1)
    path = given.files[0]
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["configuration"], row["split"], row["seed"]) for row in known}
    for split in range(given.splits):
        data = None
        for number in range(given.configurations):
            parameters = draw(definition.space, number)
            config = build(definition.config, definition.space, parameters, {})
            for seed in range(given.seeds):
                if (number, split, seed) in done:
                    continue
                data = data or pictures(config, given, split)
                run_config = with_settings(config, {"seed": 1000 * split + seed})
                row: dict[str, Any] = {"configuration": number, "split": split, "seed": seed}
                row |= {"parameters": parameters, **measure(run_config, data)}
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                sys.stderr.write(f"{number} {split} {seed} {row['curve'][-1:]}\n")


def draw(space: Any, number: int) -> dict[str, Any]:
    """Configuration `number` of a space, every parameter drawn independently."""
    import optuna

    from optuna_study.search import suggest

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
    trial = study.ask()
    space.suggest(suggest.drawing(trial))
    return dict(trial.params)


def pictures(config: TrainConfig, given: argparse.Namespace, split: int) -> Any:
    """The study's pictures, split anew; copies stay on one side."""
    import torch

    from optuna_study.data.load import open_pictures
    from optuna_study.paths import Workspace
    from optuna_study.training import device_data

    workspace = Workspace(given.workspace)
    found = open_pictures(config.data, given.data, workspace)
    name = hashlib.sha256(f"{found.fingerprint}/{split}".encode()).hexdigest()
    changed = dataclasses.replace(found, sides=None, fingerprint=name)
    with mock.patch.object(device_data, "open_pictures", return_value=changed):
        return device_data.load_data(config.data, given.data, workspace, torch.device("cpu"))


def measure(config: TrainConfig, data: Any) -> dict[str, Any]:
    """The curve of a run, the held-out accuracy of each epoch beside the recorded figures."""
    import torch

    from optuna_study.training.loop import epochs
    from optuna_study.training.run import prepare

    run = prepare(config, data, torch.device("cpu"))
    curve: Curve = []
    for epoch in epochs(run):
        if epoch.divergence is not None or not math.isfinite(epoch.validation_loss):
            return {"curve": curve, "diverged": True}
        tested = run.test()
        curve.append(
            {
                "accuracy": epoch.validation_accuracy,
                "loss": epoch.validation_loss,
                "log_loss": epoch.log_loss,
                "balanced": epoch.balanced_accuracy,
                "test": tested.accuracy,
                "test_log_loss": tested.log_loss,
            }
        )
    return {"curve": curve, "diverged": False, "scaled": scaled_log_loss(run)}


def scaled_log_loss(run: Run) -> float:
    """The validation log loss at the temperature that makes it least (Guo et al. 2017)."""
    import torch

    from optuna_study.training.evaluation import predict_proba

    data = run.data
    seen = run.features.validation if run.features else data.validation_images
    proba = predict_proba(run.evaluated, run.config, data, seen)
    logits = proba.double().clamp_min(1e-12).log()
    losses = [
        torch.nn.functional.cross_entropy(logits / t, data.validation_labels).item()
        for t in np.geomspace(0.25, 8, 41)
    ]
    return min(losses)


def mean_of_last(name: str) -> Callable[[dict[str, Any]], float]:
    """The mean of a figure over the last epochs."""
    return lambda run: statistics.fmean(epoch[name] for epoch in run["curve"][-LATE:])


FIGURES: dict[str, Callable[[dict[str, Any]], float]] = {
    "last accuracy": lambda run: run["curve"][-1]["accuracy"],
    "best epoch's accuracy": lambda run: max(epoch["accuracy"] for epoch in run["curve"]),
    "last three epochs' accuracy": mean_of_last("accuracy"),
    "log loss": lambda run: -run["curve"][-1]["log_loss"],
    "best epoch's log loss": lambda run: -min(epoch["log_loss"] for epoch in run["curve"]),
    "last three epochs' log loss": lambda run: -mean_of_last("log_loss")(run),
    "scaled log loss": lambda run: -run["scaled"],
    "balanced accuracy": lambda run: run["curve"][-1]["balanced"],
}
RANKS = "mean rank of accuracy and log loss"


def evaluate(runs: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """A row a figure: how good its pick of 24 and of 60 is, how often it fails, what rungs keep.

    Spreads are standard errors over splits.
    """
    table: dict[int, dict[int, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        table[run["split"]][run["configuration"]][run["seed"]] = run
    for name in (*FIGURES, RANKS):
        cells = [name]
        for size in (24, 60):
            if size > min(len(configurations) for configurations in table.values()):
                continue
            found = [picks(configurations, name, size) for configurations in table.values()]
            reached, failed = zip(*found, strict=True)
            error = statistics.stdev(reached) / math.sqrt(len(reached)) if len(reached) > 1 else 0
            cells += [
                f"{100 * statistics.fmean(reached):.2f} ± {100 * error:.2f}",
                f"{100 * statistics.fmean(failed):.1f} %",
            ]
        kept = [rung_keeps(configurations, name) for configurations in table.values()]
        told = [each for each in kept if each is not None]
        cells.append(f"{statistics.fmean(told):.2f}" if told else "-")
        yield cells


def picks(
    configurations: dict[int, dict[int, dict[str, Any]]], name: str, size: int
) -> tuple[float, float]:
    """The mean held-out accuracy on other seeds of what a figure picks, and how many fail."""
    random = np.random.default_rng(size)
    best = max(
        statistics.fmean(_held_out(run) for run in runs.values())
        for runs in configurations.values()
    )
    reached, failed, numbers = [], 0, sorted(configurations)
    for _ in range(SEARCHES):
        chosen = random.choice(numbers, size=size, replace=False)
        seeds = [int(random.choice(sorted(configurations[number]))) for number in chosen]
        shown = [configurations[n][s] for n, s in zip(chosen, seeds, strict=True)]
        place = int(np.argmax(scores(shown, name)))
        others = [
            _held_out(run)
            for seed, run in configurations[chosen[place]].items()
            if seed != seeds[place]
        ]
        reached.append(statistics.fmean(others))
        failed += min(others) < FAILED * best
    return statistics.fmean(reached), failed / SEARCHES


def scores(shown: Sequence[dict[str, Any]], name: str) -> list[float]:
    """What a figure gives some runs; more is better, a run that diverged is last."""
    if name == RANKS:
        orders = [
            np.argsort(np.argsort(scores(shown, each))) for each in ("last accuracy", "log loss")
        ]
        return [float(sum(ranks)) for ranks in zip(*orders, strict=True)]
    return [-math.inf if run["diverged"] else FIGURES[name](run) for run in shown]


def rung_keeps(configurations: dict[int, dict[int, dict[str, Any]]], name: str) -> float | None:
    """The share of the best tenth that is in the better half at a third of the epochs."""
    runs = [run for seeds in configurations.values() for run in seeds.values()]
    if name in ("scaled log loss",):  # measured at the end alone
        return None
    longest = max(len(run["curve"]) for run in runs)
    rung = math.ceil(longest / 3)
    cut = [
        {**run, "curve": run["curve"][:rung], "diverged": len(run["curve"]) < rung} for run in runs
    ]
    early = np.argsort(np.argsort([-score for score in scores(cut, name)]))
    final = np.argsort([-_held_out(run) for run in runs])[: max(1, len(runs) // 10)]
    return float(np.mean(early[final] < len(runs) / 2))


def _held_out(run: dict[str, Any]) -> float:
    """The held-out accuracy at the end of a run; of one that diverged, nothing."""
    return 0.0 if run["diverged"] or not run["curve"] else float(run["curve"][-1]["test"])


if __name__ == "__main__":
    main()
