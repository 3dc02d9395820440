"""What a trial costs beside its training: CPU and wall milliseconds by part, in one worker.

`python tests/benchmarks/trial_cost.py [STUDY...] [--trials N] [--data DIR]`. A study's cpu profile
is registered by the command and worked on by the real worker in this process; training itself (the
epochs, and nothing else) is timed and left out. The study's copy has no baselines and trains two
epochs a trial, since what is left out need not be long. The first trials, in which libraries are
loaded, are not counted.
To compare two states of the repository, run this one with each of them in PYTHONPATH, in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from profiles import pictures
from stand import load, machine, say

from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.search import objective
from optuna_study.search.stop_signal import StopSignal
from optuna_study.store.engine.address import StoreAddress
from optuna_study.training import loop
from optuna_study.worker import process
from optuna_study.worker.messages import WorkerTask
from optuna_study.worker.trial import TrialJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.config.epoch import EpochResult
    from optuna_study.training.run import Run

ROOT = Path(__file__).parents[2]
STUDIES = ("spiral", "mnist_fc", "alexnet_pokemon")
EPOCHS = 2
FIRST = 3  # trials that are not counted
PARTS = ("claim", "propose", "publish", "clean_up")

Clocks = tuple[float, float]


def now() -> Clocks:
    return time.process_time(), time.perf_counter()


class Timed:
    """CPU and wall seconds of parts, by trial."""

    def __init__(self) -> None:
        self.trials: list[defaultdict[str, Clocks]] = [defaultdict(lambda: (0.0, 0.0))]
        self.began = now()

    def add(self, part: str, since: Clocks) -> None:
        cpu, wall = now()
        before = self.trials[-1][part]
        self.trials[-1][part] = (before[0] + cpu - since[0], before[1] + wall - since[1])

    def next_trial(self) -> None:
        """Everything since the last one, whatever part it was, is the trial's."""
        self.add("all", self.began)
        self.trials.append(defaultdict(lambda: (0.0, 0.0)))
        self.began = now()

    def around(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            began = now()
            try:
                return call(*arguments, **named)
            finally:
                self.add(part, began)

        return timed

    def training(self, epochs: Callable[[Run], Iterator[EpochResult]]) -> Callable[..., Any]:
        def timed(run: Run) -> Iterator[EpochResult]:
            whole = epochs(run)
            while True:
                began = now()
                result = next(whole, None)
                self.add("training", began)
                if result is None:
                    return
                yield result

        return timed


def measure(study: str, trials: int, folder: Path | None) -> dict[str, Any]:
    """Medians of a study's trials, in milliseconds."""
    path = ROOT / f"studies/{study}.toml"
    data = pictures(resolve(read_study_file(path), "cpu").config.data.name, folder)
    with tempfile.TemporaryDirectory() as place:
        name = register(path, study, place, trials, data)
        task = WorkerTask(
            address=StoreAddress.of_file(Path(place) / "studies.db"),
            workspace=Path(place),
            device="cpu",
            study=name,
            folder=data,
            name="bench-1",
        )
        timed = Timed()
        vars(loop)["epochs"] = timed.training(loop.epochs)
        whole = objective.run_trial

        def one(claim: Callable[[], Any], stop: StopSignal) -> Any:
            outcome = whole(timed.around("claim", claim), stop)
            timed.next_trial()
            return outcome

        for part in PARTS[1:]:
            setattr(TrialJob, part, timed.around(part, getattr(TrialJob, part)))
        vars(process)["run_trial"] = one
        process.work(task, StopSignal(), lambda _: None)
    return summary(timed.trials[FIRST:trials])


def register(path: Path, study: str, place: str, trials: int, data: Path | None) -> str:
    """Make a short copy of the study by the command; the name that it has."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    for part in ("baselines", "claims"):
        document.pop(part, None)
    document["profile"]["cpu"].setdefault("train", {})["epochs"] = EPOCHS
    for space in (document["space"], document["profile"]["cpu"].get("space", {})):
        for name in ("breakpoints", "schedule"):
            space.pop(name, None)
    copy = Path(place) / f"{study}.toml"
    copy.write_text(tomlkit.dumps(document), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "OPTUNA_STORAGE"}
    done = subprocess.run(
        [sys.executable, "-m", "optuna_study", "launch", str(copy), "--profile", "cpu"]
        + ["--detach", "--name", "bench", "--n-trials", str(trials)]
        + (["--data", str(data)] if data else []),
        env={**environment, "OPTUNA_STUDY_ARTIFACTS": place},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.split()[-1]  # of the command that it says would do the work


def summary(trials: list[Any]) -> dict[str, Any]:
    """Medians of what each part took, and of what was neither training nor any of them."""
    found: dict[str, Any] = {"trials": len(trials)}
    for clock, kind in enumerate(("cpu", "wall")):
        fixed = [each["all"][clock] - each["training"][clock] for each in trials]
        found[kind] = round(1000 * statistics.median(fixed), 1)
        found[f"{kind}_by_part"] = {
            part: round(1000 * statistics.median(each[part][clock] for each in trials), 1)
            for part in PARTS
            if any(part in each for each in trials)
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", default=STUDIES)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--data", type=Path, help="the folder of data sets")
    arguments = parser.parse_args()
    say(**machine(), torch=version("torch"))
    for study in arguments.studies:
        say(study=study, **measure(study, arguments.trials, arguments.data), load=load())


if __name__ == "__main__":
    main()
