"""How long a launch takes to its first step, with pictures decoded before, and what that costs.

`python tests/benchmarks/start.py [--study NAME|FOLDER] [--rounds N] [--against SRC]`. Each round
is a whole command in a process of its own, ended at the first line in which a worker says that a
trial begins; SRC is the folder `src` of another state of this repository, launched in turn with
this one. CPU seconds are those of every process the command has started until then, the server
that workers are forked from included. One line of JSON a launch, and one with the medians.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL, Popen

from stand import load, machine, say

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "studies"
PROGRAM = (sys.executable, "-m", "optuna_study")
PROFILE = ("--profile", "cpu")
BEGINS = re.compile(r"^(\S+ \S+),(\d+) INFO begins after epoch", re.MULTILINE)
LONGEST = 120.0  # seconds
LOOK = 0.02  # seconds between two looks at the logs


def launch(source: Path, study: str, name: str, place: Path, *options: str) -> Popen[bytes]:
    """Start a launch of a study's cpu profile whose store and files lie in `place`."""
    given = study if Path(study).is_dir() else str(STUDIES / f"{study}.toml")
    environment = {key: value for key, value in os.environ.items() if key != "OPTUNA_STORAGE"}
    return Popen(
        [*PROGRAM, "launch", given, *PROFILE, "--name", name, *options],
        env={**environment, "OPTUNA_STUDY_ARTIFACTS": str(place), "PYTHONPATH": str(source)},
        cwd=place,  # where the study of a folder is written
        stdout=DEVNULL,
        stderr=DEVNULL,
        start_new_session=True,
    )


def first_step(process: Popen[bytes], place: Path, since: float) -> tuple[float, float]:
    """Seconds until the first trial began, and the CPU seconds of all processes by then."""
    while time.time() < since + LONGEST and process.poll() is None:
        for log in place.rglob("*.log"):
            begun = BEGINS.search(log.read_text(encoding="utf-8"))
            if begun is not None and log.stat().st_mtime > since:
                at = datetime.strptime(begun[1], "%Y-%m-%d %H:%M:%S").timestamp()
                return at + int(begun[2]) / 1000 - since, cpu_seconds(process.pid)
        time.sleep(LOOK)
    raise SystemExit(f"no trial began within {LONGEST:g} s")


def cpu_seconds(session: int) -> float:
    """CPU seconds of a session's processes, and of those that they have waited for."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            ticks += sum(int(each) for each in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(source: Path, study: str, name: str, workers: int) -> tuple[float, float]:
    """One launch with a warm cache, ended once its first trial has begun."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        launch(source, study, "before", place, "--detach").wait()
        since = time.time()
        process = launch(source, study, name, place, "--workers", str(workers))
        try:
            return first_step(process, place, since)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="spiral", help="a study's name, or a folder")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="the folder src of another state")
    arguments = parser.parse_args()
    say(**machine(), torch=version("torch"), study=arguments.study, workers=arguments.workers)
    sources = {"this": ROOT / "src"}
    if arguments.against is not None:
        sources["against"] = arguments.against.absolute()
    found: dict[str, list[tuple[float, float]]] = {side: [] for side in sources}
    for turn in range(arguments.rounds):
        for side in sources if turn % 2 == 0 else reversed(sources):
            wall, cpu = measure(sources[side], arguments.study, "measured", arguments.workers)
            found[side].append((wall, cpu))
            say(side=side, wall=round(wall, 2), cpu=round(cpu, 2), load=load())
    for side, rounds in found.items():
        walls, cpus = zip(*rounds, strict=True)
        say(
            side=side,
            wall=round(statistics.median(walls), 2),
            walls=[round(wall, 2) for wall in sorted(walls)],
            cpu=round(statistics.median(cpus), 2),
        )


if __name__ == "__main__":
    main()
