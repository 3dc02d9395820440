"""How long each study's cpu profile takes, at its own number of trials on two workers.

`python tests/benchmarks/profiles.py --data DIR`, where DIR has pictures under their data set's
name: the folders `pokemon` and `flower`, the files `mnist.npz` and `cifar10.npz` (a suffix such as
`cifar10-12k.npz` does). What is not there is stood in for by built-in data, and the line says so.
Each study is launched as whoever follows the README launches it, in a folder of its own without
any cache, so pictures are decoded, too. Prints a line of JSON about the machine, one a study, and
at last all of them as a table in Markdown; the goal is three minutes each on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stand import load, machine, say

from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

STUDIES = Path(__file__).parents[2] / "studies"
GOAL = 180  # seconds, on two cores that have nothing else to do


@dataclass(frozen=True)
class Measured:
    """One launch: whole command in seconds, and what came of it; `load` is from just before."""

    study: str
    pictures: str
    trials: int
    baselines: int
    pruned: int
    seconds: float
    load: float
    best: float
    best_baseline: float


def measure(path: Path, folder: Path | None, workers: int) -> Measured:
    """Launch the cpu profile of a study file in a new folder."""
    definition = resolve(read_study_file(path), "cpu")
    given = pictures(definition.config.data.name, folder)
    before = load()
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        launch = ["launch", str(path), "--profile", "cpu", "--workers", str(workers)]
        command(place, *launch, *(["--data", str(given)] if given else []))
        seconds = time.perf_counter() - start
        (found,) = json.loads(command(place, "list", "-f", "json"))
        shown = json.loads(command(place, "show", found["name"], "-f", "json"))
    if shown["ended"] != definition.search.trials:
        raise SystemExit(f"{path.stem}: {shown['ended']} of {definition.search.trials} trials")
    return Measured(
        study=path.stem,
        pictures=given.name if given else shown["data"],
        trials=shown["ended"],
        baselines=len(shown["baselines"]),
        pruned=shown["ends"]["pruned"],
        seconds=round(seconds, 1),
        load=before,
        best=shown["best"]["value"],
        best_baseline=shown["best_baseline"]["value"],
    )


def pictures(name: str, folder: Path | None) -> Path | None:
    """Where a data set lies below a folder, if it does."""
    if folder is None:
        return None
    files = [
        each for each in sorted(folder.glob(f"{name}*")) if each.is_dir() or ".npz" in each.name
    ]
    return files[0].absolute() if files else None


def command(place: str, *arguments: str) -> str:
    """What one of our commands prints; its store and files lie in `place` alone."""
    environment = {key: value for key, value in os.environ.items() if key != "OPTUNA_STORAGE"}
    done = subprocess.run(
        [sys.executable, "-m", "optuna_study", *arguments],
        env={**environment, "OPTUNA_STUDY_ARTIFACTS": place},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr}")
    return done.stdout


def table(found: Iterable[Measured]) -> str:
    """The launches as Markdown."""
    lines = [
        "| study, profile cpu | pictures | trials | of them baselines | pruned | seconds | within "
        "three minutes | load before | best | best baseline |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in found:
        cells: list[Any] = [each.study, each.pictures, each.trials, each.baselines, each.pruned]
        cells += [f"{each.seconds:.0f}", "yes" if each.seconds <= GOAL else "no"]
        cells.append(each.load)
        cells += [f"{100 * each.best:.1f} %", f"{100 * each.best_baseline:.1f} %"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Launch one study after the other."""
    known = {path.stem: path for path in sorted(STUDIES.glob("*.toml"))}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="[default: all]")
    parser.add_argument("--data", type=Path, help="the folder of data sets")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    unknown = set(arguments.studies) - known.keys()
    if unknown:
        parser.error(f"no study named {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    say(**machine(), torch=version("torch"), workers=arguments.workers)
    found = []
    for name in arguments.studies or known:
        found.append(measure(known[name], arguments.data, arguments.workers))
        say(**vars(found[-1]))
    sys.stdout.write(f"\n{table(found)}\n")


if __name__ == "__main__":
    main()
