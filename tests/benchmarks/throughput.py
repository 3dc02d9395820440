"""Trials per second that the service allows, ours beside plain Optuna's on the same kind of store.

`python tests/benchmarks/throughput.py`. 1, 4, 16 and 64 processes run trials that take no time, 20
epochs each, for some seconds; ours and plain Optuna's in turn, in stores made anew. What a process
does is what it does in earnest: ours claims, keeps a lease, draws parameters through Optuna,
reports in batches and compares at the pruner's rungs; plain Optuna asks, draws, reports and asks
`should_prune` at each epoch, and tells. Prints one line of JSON about the machine, one for each
run, and one with the medians and their ratio for each store and number of processes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bare_worker import Desk
from crew import FORK, run_crew
from idle import STUDY, begin, load_plain, make_plain, plain_trial
from stand import KINDS, fresh_store, load, machine, make_study, say

from optuna_study.store.engine.open import open_store

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from optuna import Study

EPOCHS = 20
NO_BUDGET = 10**6
START_SECONDS = 120.0  # that the last of 64 processes may take to open its store
SIDES = ("ours", "plain")


@dataclass
class Race:
    """Processes that begin at once, and what they share."""

    seconds: float
    ready: Barrier
    began: Synchronized[float] = field(default_factory=lambda: FORK.Value("d", 0.0))
    ended: Synchronized[float] = field(default_factory=lambda: FORK.Value("d", 0.0))
    trials: Synchronized[int] = field(default_factory=lambda: FORK.Value("i", 0))
    raised: Synchronized[int] = field(default_factory=lambda: FORK.Value("i", 0))
    shut_out: Synchronized[int] = field(default_factory=lambda: FORK.Value("i", 0))

    def start(self) -> float:
        """Wait for the others; the time at which no trial is begun any more."""
        self.ready.wait(START_SECONDS)
        self.began.value = time.monotonic()
        return self.began.value + self.seconds

    def finish(self, trials: int, raised: int = 0) -> None:
        """Note what this process did; the last one's end is the race's."""
        with self.trials.get_lock():
            self.trials.value += trials
            self.raised.value += raised
            self.ended.value = time.monotonic()

    @property
    def rate(self) -> float:
        """Trials per second, up to the end of the last."""
        return self.trials.value / (self.ended.value - self.began.value)


def make_ours(url: str, folder: Path) -> None:
    store = open_store(url, create=True)
    make_study(store, folder, STUDY.format(epochs=EPOCHS, trials=NO_BUDGET), NO_BUDGET)
    store.close()


def run_ours(url: str, race: Race) -> None:
    desk = Desk(url, "bench", begin)
    until = race.start()
    race.finish(desk.work(lambda: time.monotonic() >= until))


def run_plain(url: str, race: Race) -> None:
    study = open_plain(url, race)
    until = race.start()
    trials = raised = 0
    while study is not None and time.monotonic() < until:
        try:
            plain_trial(study, EPOCHS)
            trials += 1
        except Exception:  # noqa: BLE001 - whatever it raises, this trial is lost
            raised += 1
    race.finish(trials, raised)


def open_plain(url: str, race: Race) -> Study | None:
    """The study, None where the store lets this process in no more."""
    try:
        return load_plain(url)
    except Exception:  # noqa: BLE001 - whatever it raises, this process takes no part
        with race.shut_out.get_lock():
            race.shut_out.value += 1
        return None


def run(side: str, kind: str, processes: int, seconds: float) -> float:
    """Trials per second of one side, printed with what went wrong."""
    with fresh_store(kind) as (url, folder):
        make = (lambda _: make_ours(url, folder)) if side == "ours" else lambda _: make_plain(url)
        run_crew(1, make)
        race = Race(seconds, FORK.Barrier(processes))
        one = run_ours if side == "ours" else run_plain
        ran = run_crew(processes, lambda _: one(url, race))
    say(
        store=kind,
        processes=processes,
        side=side,
        trials=race.trials.value,
        per_second=round(race.rate, 2),
        raised=race.raised.value,
        shut_out=race.shut_out.value,
        failed_processes=ran.failed,
        load=load(),
    )
    return race.rate


def compare(kind: str, processes: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Both sides in turn, the first one first in every second round."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in SIDES if turn % 2 == 0 else reversed(SIDES):
            rates[side].append(run(side, kind, processes, seconds))
    ours, plain = (statistics.median(rates[side]) for side in SIDES)
    ratios = [one / other for one, other in zip(rates["ours"], rates["plain"], strict=True)]
    return {
        "store": kind,
        "processes": processes,
        "ours": round(ours, 2),
        "plain": round(plain, 2),
        "ratio": round(ours / plain, 2),
        "ratios": [round(ratio, 2) for ratio in sorted(ratios)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=KINDS, action="append", help="default: both")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="in which trials are begun")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    say(**machine(), seconds=arguments.seconds, rounds=arguments.rounds)
    for kind in arguments.store or KINDS:
        for processes in arguments.processes:
            say(**compare(kind, processes, arguments.rounds, arguments.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
