"""Forty-eight processes on one SQLite file: what is lost, by our queue and by plain Optuna.

`python tests/benchmarks/crowd.py`. The sides run the same load, one after the other: 144 trials
of 20 epochs that take no time, each epoch written at once and followed by a prune decision that
reads what the other trials had. Plain Optuna's side is what its documentation shows, a storage
from a URL, `ask`, `report`, `should_prune`, `tell`; a call that raises costs that trial, and its
process goes on with the next. Tuned is the same with what one may set by hand, SQLite's WAL and
a time-out of two minutes. Prints one line of JSON about the machine and one for each side.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

from bare_worker import Desk
from crew import FORK, run_crew
from idle import STUDY, begin, load_plain, make_plain, plain_trial
from stand import fresh_store, machine, make_study, say

from optuna_study.store.engine.open import open_store
from optuna_study.store.reads import reads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna_study.search.pruner import Cut

SIDES = ("ours", "plain", "tuned")


def at_every_epoch(
    epoch: int, value: float, others: Callable[[], Sequence[float]], direction: str, epochs: int
) -> Cut | None:
    """Write the epoch and read what the others had at it, not at the rungs alone."""
    assert all(other == value for other in others())
    return None


def ours(arguments: argparse.Namespace) -> dict[str, Any]:
    asked = arguments.processes * arguments.each
    with fresh_store("sqlite") as (url, folder):
        store = open_store(url, create=True)
        file = STUDY.format(epochs=arguments.epochs, trials=asked)
        study = make_study(store, folder, file, asked)
        store.close()

        def work(_place: int) -> None:
            Desk(url, study.name, begin, decide=at_every_epoch).work()

        ran = run_crew(arguments.processes, work)
        trials = reads.trials(store, study, with_parameters=False)
        store.close()
    states = Counter(trial.state.value for trial in trials)
    complete = sum(trial.epochs == arguments.epochs for trial in trials)
    return _figures(asked, states, complete, ran.seconds, ran.failed)


def plain(arguments: argparse.Namespace, busy_seconds: float | None = None) -> dict[str, Any]:
    asked = arguments.processes * arguments.each
    raised = FORK.Value("i", 0)
    with fresh_store("sqlite") as (url, folder):
        run_crew(1, lambda _: make_plain(url))
        if busy_seconds is not None:
            [file] = folder.glob("*.db")
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")

        def work(_place: int) -> None:
            study = load_plain(url, busy_seconds)
            for _ in range(arguments.each):
                try:
                    plain_trial(study, arguments.epochs)
                except Exception:  # noqa: BLE001 - whatever it raises, this trial is lost
                    with raised.get_lock():
                        raised.value += 1

        ran = run_crew(arguments.processes, work)
        trials = load_plain(url).get_trials(deepcopy=False)
    states = Counter(trial.state.name for trial in trials)
    complete = sum(len(trial.intermediate_values) == arguments.epochs for trial in trials)
    figures = _figures(asked, states, complete, ran.seconds, ran.failed)
    return {**figures, "raised": raised.value}


def tuned(arguments: argparse.Namespace) -> dict[str, Any]:
    return plain(arguments, busy_seconds=120)


def _figures(
    asked: int, states: Counter[str], complete: int, seconds: float, failed: int
) -> dict[str, Any]:
    """`lost` are trials asked for that are not COMPLETE in the store."""
    return {
        "seconds": round(seconds, 1),
        "asked": asked,
        "lost": asked - states["COMPLETE"],
        "states": dict(states),
        "with_all_epochs": complete,
        "failed_processes": failed,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=SIDES, action="append", help="default: all")
    parser.add_argument("--processes", type=int, default=48)
    parser.add_argument("--each", type=int, default=3, help="trials a process")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    say(**machine())
    for side in arguments.side or SIDES:
        say(side=side, **{"ours": ours, "plain": plain, "tuned": tuned}[side](arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
