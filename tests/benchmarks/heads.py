"""Trials of a head search per hour, ours beside a plain Optuna and scikit-learn loop.

`python tests/benchmarks/heads.py FOLDER [--trials N] [--workers N]`. The command launches what
it writes for a folder of pictures, without baselines, second stage and confirmation; features
are computed before any clock runs. The plain loop searches C of a logistic regression on the same
features, standardised, on as many threads as there are workers; its trials stand in an SQLite
file, too, and leave nothing else.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import tomlkit
import torch
from stand import machine, say

from optuna_study.definition.init import write_study_file
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.paths import Workspace
from optuna_study.training.backbone.features import open_features
from optuna_study.training.backbone.timm_models import own_scale
from optuna_study.training.device_data import load_data, view

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "heads"


def write_study(folder: Path, place: Path, trials: int) -> Path:
    """The study file of a folder, of heads alone."""
    path = write_study_file(NAME, folder, place / "studies").path
    plain: Any = tomlkit.parse(path.read_text(encoding="utf-8"))
    del plain["baselines"]
    plain["search"]["trials"] = trials
    plain["profile"]["cpu"]["search"] = {"confirm": {"top": 0}}
    path.write_text(tomlkit.dumps(plain), encoding="utf-8")
    return path


def features_of(path: Path, folder: Path, workspace: Workspace) -> list[NDArray[Any]]:
    """Features and labels of the training and of the validation pictures."""
    config = resolve(read_study_file(path), "cpu", threads=1).config
    data = load_data(config.data, folder, workspace, torch.device("cpu"))
    data = view(data, config.data, own_scale(config))
    found = open_features(config, data)
    tensors = found.training[0], data.train_labels, found.validation, data.validation_labels
    return [tensor.numpy() for tensor in tensors]


def ours(path: Path, place: Path, workers: int) -> tuple[float, float, float]:
    """Seconds of the whole command, of its trials alone, and the best accuracy."""
    command = [sys.executable, "-m", "optuna_study", "launch", str(path)]
    began = time.perf_counter()
    subprocess.run(
        [*command, "--profile", "cpu", "--device", "cpu", "--workers", str(workers)],
        cwd=place,
        check=True,
        capture_output=True,
        env=os.environ | {"OPTUNA_STUDY_ARTIFACTS": str(place / "storage")},
    )
    seconds = time.perf_counter() - began
    study = optuna.load_study(
        study_name=f"{NAME}@cpu", storage=f"sqlite:///{place / 'storage' / 'studies.db'}"
    )
    began_at = min(trial.datetime_start for trial in study.trials if trial.datetime_start)
    ended_at = max(trial.datetime_complete for trial in study.trials if trial.datetime_complete)
    return seconds, (ended_at - began_at).total_seconds(), study.best_value


def plain(
    arrays: list[NDArray[Any]], place: Path, trials: int, workers: int
) -> tuple[float, float]:
    """Seconds of the loop, and the best accuracy."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    training, labels, validation, truths = arrays

    def objective(trial: optuna.Trial) -> float:
        c = trial.suggest_float("C", 1e-5, 10.0, log=True)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=200))
        return float(model.fit(training, labels).score(validation, truths))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{place / 'plain.db'}"
    study = optuna.create_study(storage=storage, direction="maximize")
    began = time.perf_counter()
    study.optimize(objective, n_trials=trials, n_jobs=workers)
    return time.perf_counter() - began, study.best_value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    say(**machine())
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        path = write_study(given.folder.absolute(), place, given.trials)
        arrays = features_of(path, given.folder.absolute(), Workspace(place / "storage"))
        say(training=len(arrays[0]), features=arrays[0].shape[1])
        whole, alone, best = ours(path, place, given.workers)
        rows = {
            "optuna-study, whole command": (whole, best),
            "optuna-study, its trials alone": (alone, best),
            "Optuna and scikit-learn": plain(arrays, place, given.trials, given.workers),
        }
    for name, (seconds, best) in rows.items():
        hourly = round(3600 * given.trials / seconds)
        say(name=name, seconds=round(seconds, 1), trials_an_hour=hourly, best=round(best, 4))


if __name__ == "__main__":
    main()
