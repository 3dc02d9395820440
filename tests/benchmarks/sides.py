"""Ours beside its peers, by turns: what each side takes, and the table that says it.

A side of a search is a command of its own that ends by `tell_side`; everything it has started is
counted, too.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stand import load, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GATE = 0.03  # of the accuracy: what separates the best of a dozen random draws
Sides = dict[str, list[float]]


@dataclass(frozen=True)
class Found:
    """What a search has found: the best accuracy, and when each trial ended."""

    best: float
    ends: list[float]


@dataclass(frozen=True)
class Row:
    """One line of the table; figures smaller than their peer's are better."""

    what: str
    unit: str
    sides: Sides  # ours first

    def lines(self) -> list[str]:
        ours = self.sides["ours"]
        cells = []
        for peer, figures in self.sides.items():
            if peer == "ours":
                continue
            ratios = sorted(one / other for one, other in zip(ours, figures, strict=True))
            cells.append(
                f"| {self.what} | {statistics.median(ours):.3g} {self.unit} | {peer} "
                f"| {statistics.median(figures):.3g} {self.unit} "
                f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
            )
        return cells or [
            f"| {self.what} | {statistics.median(ours):.3g} {self.unit} | - | - | - |"
        ]


def note(**figures: Any) -> None:
    sys.stderr.write(json.dumps(figures) + "\n")
    sys.stderr.flush()


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int, what: str) -> Sides:
    """Each side's figure in each round, the first one first in every second round."""
    found: Sides = {side: [] for side in sides}
    for turn in range(rounds):
        for side in list(sides) if turn % 2 == 0 else list(sides)[::-1]:
            found[side].append(sides[side]())
            note(row=what, side=side, figure=round(found[side][-1], 5), load=load())
    return found


def children(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    fine: Sequence[int] = (0,),
) -> tuple[float, str]:
    """CPU seconds of a command and what it waited for, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept = {key: value for key, value in os.environ.items() if key != "OPTUNA_STORAGE"}
    done = subprocess.run(
        command, env={**kept, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode not in fine:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, done.stdout


def tell_side(search: Callable[[Path], Callable[[], Found]], workers: int = 1) -> None:
    """Run one side, a search within a folder made for it, and print what it took.

    What the search leaves behind, such as a server of workers, is adopted: its time counts, too.
    What it has found is read when all has been counted.
    """
    import ctypes

    adopt_orphans = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
    ctypes.CDLL(None).prctl(adopt_orphans, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as place:
        read = search(Path(place))
        with suppress(ChildProcessError):
            while True:
                os.wait()
        used = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        began = time.perf_counter()
        found = read()
        answer = {
            "best": found.best,
            "seconds": (max(found.ends) - min(found.ends)) / (len(found.ends) - workers),
            "cpu": sum(each.ru_utime + each.ru_stime for each in used),
            "memory": max(each.ru_maxrss for each in used) // 1024,
            "reading": time.perf_counter() - began,
        }
    sys.stdout.write(json.dumps(answer) + "\n")


def launched(study: str, place: Path, *options: str) -> Callable[[], Found]:
    """A launch of a study file's text."""
    file = place / "beside.toml"
    file.write_text(study, encoding="utf-8")
    program = [sys.executable, "-m", "optuna_study"]
    where = {"OPTUNA_STUDY_ARTIFACTS": str(place)}
    children([*program, "launch", str(file), "--profile", "full", "--no-confirm", *options], where)

    def read() -> Found:
        _, shown = children([*program, "show", "beside", "-f", "json"], where)
        _, trials = children([*program, "trials", "beside", "-f", "json"], where)
        ends = [each["datetime_complete"] for each in json.loads(trials)]
        times = [datetime.fromisoformat(each).timestamp() for each in ends]
        return Found(float(json.loads(shown)["best"]["value"]), times)

    return read


def search_rows(commands: Mapping[str, Sequence[str]], rounds: int, what: str) -> list[Row]:
    """What each side's search takes; all must reach the same accuracy, but for `GATE`."""
    best: dict[str, list[float]] = {}
    wall: Sides = {}
    trial: Sides = {}
    memory: dict[str, int] = {}

    def side(name: str) -> Callable[[], float]:
        def one() -> float:
            began = time.perf_counter()
            _, text = children(commands[name])
            taken = time.perf_counter() - began
            answer = json.loads(text.splitlines()[-1])
            wall.setdefault(name, []).append(taken - answer["reading"])
            best.setdefault(name, []).append(answer["best"])
            trial.setdefault(name, []).append(answer["seconds"])
            memory[name] = max(memory.get(name, 0), answer["memory"])
            return float(answer["cpu"])

        return one

    cpu = alternate({name: side(name) for name in commands}, rounds, what)
    reached = {name: statistics.median(values) for name, values in best.items()}
    note(row=what, accuracy=reached, peak_memory_mb=memory)
    if max(reached.values()) - min(reached.values()) > GATE:
        raise SystemExit(f"the sides do not search the same: {reached}")
    return [
        Row(f"{what}, whole processes, CPU", "s", cpu),
        Row("whole processes, wall", "s", wall),
        Row("for each trial, from the first's end to the last's, wall", "s", trial),
        Row("the best accuracy", "", best),
        Row(
            "peak memory of the largest process",
            "MB",
            {name: [float(memory[name])] * rounds for name in cpu},
        ),
    ]


def print_table(rows: Callable[[], Sequence[Row]], rounds: int) -> None:
    """The rows as a table in Markdown, under what they were measured on."""
    here = {**machine(), "torch": version("torch")}
    note(**here)
    told = ", ".join(f"{key} {value}" for key, value in here.items())
    lines = [f"{rounds} rounds; {told}", ""]
    lines += ["| what | ours | peer | peer's | ours / peer's (least to most) |"]
    lines += ["|---|---|---|---|---|"]
    lines += [line for row in rows() for line in row.lines()]
    sys.stdout.write("\n".join(lines) + "\n")
