"""Where the time of a launch goes, from the first word to the last: a table by stage.

`python tests/benchmarks/launch_profile.py STUDY|FOLDER [--trials N] [--data DIR] [--against SRC]`,
with py-spy installed. The launch runs in a folder of its own without any cache, with a sample of
every thread of every process RATE times a second. A line counts the seconds in which threads were
at work on it: with two workers a second of the clock counts up to twice. What no line names is
`the rest`. SRC is the folder `src` of another state of this repository, for a column beside.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from stand import load, machine, say

ROOT = Path(__file__).parents[2]
RATE = 50
# The first whose words are among a sample's frames; inner stages stand before those around them.
STAGES = {
    "the server's imports: torch, Optuna, timm": ("worker/preload",),
    "reading, decoding and splitting the pictures": ("read_folder (", "inspect_file"),
    "features of a frozen network": ("_computed (", "_computed.<locals>", "_Network.below ("),
    "trying the models out": ("check_model (", "check_models ("),
    "other checks of the launch": ("prove (", "look_around ("),
    "a worker opens the study": ("open_study (",),
    "answers of ended trials (confusion, worst mistakes)": ("answers (", "TrialJob.publish ("),
    "validation": ("Run.validate (", "_validate ("),
    "training": ("train_epoch (", "loop.py"),
    "checkpoints": ("CheckpointedRun.save (", "_Trial.checkpoint ("),
    "proposals": ("TrialJob.propose (",),
    "a run's preparation": ("prepare (optuna_study/training",),
    "claims, ends and notes": ("objective.py", "assignment.py", "upkeep.py", "heartbeat.py"),
    "the command itself": ("cli/", "_find_and_load"),
}
WAITING = ("_listen_to (", "stop_on_sigterm", "forkserver.py", "popen_forkserver")


def profile(source: Path, launched: list[str]) -> tuple[Counter[str], float]:
    """Seconds by stage, and those of the clock."""
    environment = {key: value for key, value in os.environ.items() if key != "OPTUNA_STORAGE"}
    with tempfile.TemporaryDirectory() as made:
        samples = Path(made) / "samples.txt"
        command = ["py-spy", "record", "--subprocesses", "--threads", "--format", "raw"]
        command += ["--rate", str(RATE), "--output", str(samples), "--"]
        began = time.perf_counter()
        subprocess.run(
            [*command, sys.executable, "-m", "optuna_study", "launch", *launched],
            cwd=made,
            env={**environment, "OPTUNA_STUDY_ARTIFACTS": made, "PYTHONPATH": str(source)},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        taken = time.perf_counter() - began
        found: Counter[str] = Counter()
        for line in samples.read_text(encoding="utf-8", errors="replace").splitlines():
            frames, _, count = line.rpartition(" ")
            found[stage(frames)] += int(count)
    return Counter({name: count / RATE for name, count in found.items()}), taken


def stage(frames: str) -> str:
    """The stage of a sample, given as the frames from a process's first to the innermost."""
    *_, own = frames.rpartition(";thread (")  # before it stand the command lines of all parents
    for name, words in STAGES.items():
        if any(word in own for word in words):
            return name
    return "waiting" if any(word in own for word in WAITING) else "the rest"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", help="a study's name or file, or a folder of pictures")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--data", type=Path, help="the folder of the study's pictures")
    parser.add_argument("--against", type=Path, help="the folder src of another state")
    arguments = parser.parse_args()
    file = ROOT / f"studies/{arguments.study}.toml"
    given = str(file if file.exists() else Path(arguments.study).absolute())
    launched = [given, "--profile", "cpu", "--n-trials", str(arguments.trials)]
    launched += ["--data", str(arguments.data.absolute())] if arguments.data else []
    sources = {"this": ROOT / "src"}
    if arguments.against is not None:
        sources = {"before": arguments.against.absolute(), **sources}
    say(**machine(), torch=version("torch"), study=arguments.study, trials=arguments.trials)
    columns = {side: profile(source, launched) for side, source in sources.items()}
    lines = [f"| seconds of threads at work | {' | '.join(columns)} |"]
    lines += [f"|---|{'---|' * len(columns)}"]
    for name in (*STAGES, "the rest"):
        cells = [f"{found[name]:.1f}" for found, _ in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    clock = [f"{taken:.1f}" for _, taken in columns.values()]
    lines.append(f"| the whole launch by the clock, samples taken | {' | '.join(clock)} |")
    sys.stdout.write("\n".join(lines) + "\n")
    say(load=load())


if __name__ == "__main__":
    main()
