"""Many processes on one store at once; a script, since no process finds a test module by name.

The processes are forked from one that has imported everything and opened nothing, which costs a
twentieth of starting each. The URL comes by the environment, as workers get it. Prints one JSON
line for each process that ended by itself.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue
from optuna_study.store.records import (
    Claim,
    End,
    EndKind,
    EpochRecord,
    NewStudy,
    NoTrialReason,
    PlannedTrial,
)
from optuna_study.store.studies.studies import create_study, load_study

if TYPE_CHECKING:
    from optuna_study.store.engine.connection import Store

NAME = "storm"


def new_study(budget: int) -> NewStudy:
    planned = tuple(PlannedTrial(name, "group", (), {}) for name in ("one", "two"))
    return NewStudy(
        NAME,
        "maximize",
        "validation_accuracy",
        {"search": {}},
        "h",
        "f",
        "d",
        {},
        1,
        budget,
        planned,
    )


def create(url: str, budget: int) -> object:
    store = open_store(url, create=True)
    return create_study(store, new_study(budget)).uuid


def work(url: str) -> object:
    """Claim and end trials until there are none."""
    store = open_store(url)
    study = load_study(store, NAME)
    numbers = []
    while True:
        claim = queue.claim(store, study, f"worker-{os.getpid()}", lease=60)
        if claim is NoTrialReason.BUDGET_TAKEN:
            time.sleep(0.2)
        elif isinstance(claim, Claim):
            finish(store, claim)
            numbers.append(claim.number)
        else:
            return numbers


def finish(store: Store, claim: Claim) -> None:
    epochs = [epoch(number, claim.number) for number in (1, 2, 3)]
    queue.report(store, claim, epochs[:2])
    queue.end(store, claim, End(EndKind.COMPLETED, "done", epochs[-1].value), epochs[2:])


def epoch(number: int, trial: int) -> EpochRecord:
    return EpochRecord(number, trial + number / 10, 1.0, 0.5, 1.0, 0.5, 0.1, 1.0, 0.01)


def plain(url: str, count: int) -> object:
    """What plain Optuna does: ask and tell."""
    import optuna

    study = optuna.load_study(study_name=NAME, storage=url)
    numbers = []
    for _ in range(count):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 0.5)
        numbers.append(trial.number)
    return numbers


def child(arguments: argparse.Namespace, place: int) -> object:
    url = os.environ["STORM_URL"]
    if arguments.what == "create":
        return create(url, arguments.budget)
    if place < arguments.plain:
        return plain(url, 10)
    return work(url)


def fork(arguments: argparse.Namespace, place: int) -> None:
    if os.fork():
        return
    result = child(arguments, place)
    os.write(1, (json.dumps(result) + "\n").encode())
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["create", "work"])
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--plain", type=int, default=0)
    arguments = parser.parse_args()
    gc.freeze()  # what is shared is not looked through by each for garbage, which would copy it
    for place in range(arguments.processes):
        fork(arguments, place)
    return sum(os.wait()[1] != 0 for _ in range(arguments.processes))


if __name__ == "__main__":
    sys.exit(main())
