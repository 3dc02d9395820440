"""Measure the quick commands beside Optuna's own, alternating, and print medians and ratios.

`python tests/benchmarks/cli_times.py --rounds 9`. Makes a store of one study of 3,000 trials x 20
reports in a temporary folder, and a store of one small study for `list`. Read the ratios: the
milliseconds are the machine's. The bounds are those of the project's goals.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Pair:
    """One of our commands and the one of Optuna's that it is measured by."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    store: str
    bound: float


PAIRS = (
    Pair(("--help",), ("--help",), "small", 1 / 3),
    Pair(("list",), ("studies",), "small", 1 / 2),
    Pair(("show", "large"), ("best-trial", "--study-name", "large"), "large", 1 / 8),
    Pair(("trials", "large"), ("trials", "--study-name", "large"), "large", 1.0),
)


def seconds(command: list[str], storage: str) -> float:
    """How long a process takes from its start to its end."""
    environment = {**os.environ, "OPTUNA_STORAGE": storage, "PYTHONWARNINGS": "ignore"}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return taken


def measure(pair: Pair, storage: str, rounds: int) -> str:
    """One line: both medians in milliseconds, their ratio and the bound."""
    ours = [str(BIN / "optuna-study"), *pair.ours]
    theirs = [str(BIN / "optuna"), *pair.theirs]
    for command in (ours, theirs):  # the first run reads files that later ones find in memory
        seconds(command, storage)
    taken = [(seconds(ours, storage), seconds(theirs, storage)) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*taken, strict=True))
    ratio = mine / other
    verdict = "ok" if ratio < pair.bound else "TOO SLOW"
    names = f"{' '.join(pair.ours):<12} {' '.join(pair.theirs[:1]):<12}"
    return (
        f"{names} {1000 * mine:7.0f} ms {1000 * other:7.0f} ms   "
        f"{ratio:.3f} (below {pair.bound:.3f}: {verdict})"
    )


def main() -> None:
    """Make the stores, measure every pair, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stores = {name: f"sqlite:///{folder}/{name}.db" for name in ("small", "large")}
        for name, trials in (("small", 20), ("large", 3000)):
            make = [sys.executable, str(HERE / "make_store.py"), stores[name], "--name", name]
            subprocess.run([*make, "--trials", str(trials), "--epochs", "20"], check=True)
        sys.stdout.write("ours         optuna's         ours     optuna's   ratio\n")
        for pair in PAIRS:
            sys.stdout.write(measure(pair, stores[pair.store], arguments.rounds) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
