"""What the queue costs per operation, by how many trials the study has; the sampler's beside it.

`python tests/benchmarks/queue_cost.py`. Stores of 0, 1,000, 3,000 and 10,000 ended trials of 12
epochs are worked on in turn, a trial at a time: claim, propose (ask and eight suggests of the TPE
sampler, from the eleventh trial on), report of one epoch, prune decision at a rung, end. Prints
one line of JSON about the machine, and one for each store and size with medians in milliseconds;
`over_empty` are their ratios to those of the study that was empty. `plain_propose` is what plain
Optuna takes for such a proposal in a study as large, of a store of its own: `ask` and its default
sampler's eight suggests, by turns with ours.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import optuna
from make_store import fill
from sqlalchemy import text
from stand import KINDS, load, machine, make_study, say, stores

from optuna_study.definition.serialise import from_json
from optuna_study.search.ledger import StoreLedger
from optuna_study.search.propose import propose
from optuna_study.search.pruner import decide, rungs
from optuna_study.search.suggest import drawing, to_store
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.records import Claim, End, EndKind, EpochRecord

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from optuna.storages import BaseStorage

    from optuna_study.config.settings import Scalar
    from optuna_study.definition.model import Definition
    from optuna_study.space.dimensions import Leaf
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StoredParameter, StudyRecord

EPOCHS = 12
STUDY = """
title = "Eight dimensions"
[data]
name = "spiral"
image_size = 1
[model]
name = "mlp"
[train]
epochs = 12
threads = 1
[search]
trials = {trials}
startup_trials = 10
[space]
lr = {{low = 1e-4, high = 1.0, log = true}}
momentum = {{low = 0.5, high = 0.95}}
batch_size = {{low = 16, high = 256, log = true}}
dropout = {{low = 0.0, high = 0.8}}
width = {{low = 0.25, high = 2.0, log = true}}
weight_decay = {{low = 0.0, high = 0.001}}
activation = ["relu", "tanh", "elu", "sigmoid"]
normalisation = ["none", "batch", "layer"]
"""


@dataclass
class Bench:
    """A store of one size, and what each operation took there in seconds."""

    size: int
    store: Store
    storage: BaseStorage
    study: StudyRecord
    definition: Definition
    plain: optuna.Study  # of as many trials, in a store of its own
    taken: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.taken.setdefault(operation, []).append(time.perf_counter() - began)

    def one_trial(self) -> None:
        with self.timed("plain_propose"):
            trial = self.plain.ask()
            self.definition.space.suggest(drawing(trial))
        self.plain.tell(trial, 0.5)
        with self.timed("claim"):
            claim = queue.claim(self.store, self.study, "bench")
        assert isinstance(claim, Claim)
        with self.timed("propose"):
            propose(self.store, self.storage, self.study, self.definition, claim)
        ledger = StoreLedger(self.store, self.study, claim)
        rung = rungs(EPOCHS)[0]
        ledger.report([epoch_record(epoch) for epoch in range(1, rung)])
        with self.timed("report"):
            ledger.report([epoch_record(rung)])
        with self.timed("prune_decision"):
            direction = self.study.direction
            decide(rung, 1.0, lambda: ledger.others_at(rung), direction, EPOCHS)
        with self.timed("end"):
            ledger.end(End(EndKind.COMPLETED, "done", 0.5), [epoch_record(EPOCHS)])


def epoch_record(epoch: int) -> EpochRecord:
    return EpochRecord(epoch, 0.5, 1.0, 0.5, 1.0, 0.5, 0.01, 1.0, 2.0)


def prepare(another: Callable[[], tuple[str, Path]], size: int, trials: int) -> Bench:
    """A store with a study of so many ended trials, and room for more; plain Optuna's like it."""
    store, study, definition = filled(*another(), size, trials)
    url, folder = another()
    other, twin, _ = filled(url, folder, size, trials)
    other.close()
    plain = optuna.load_study(study_name=twin.name, storage=url)
    return Bench(size, store, optuna_storage(store), study, definition, plain)


def filled(
    url: str, folder: Path, size: int, trials: int
) -> tuple[Store, StudyRecord, Definition]:
    """A store with a study of so many ended trials, and room for more."""
    store = open_store(url, create=True)
    file = STUDY.format(trials=size + trials)
    study = make_study(store, folder, file, size + trials)
    definition = from_json(study.definition)

    def parameters(draw: random.Random) -> Sequence[StoredParameter]:
        def value(leaf: Leaf) -> Scalar:
            if leaf.kind == "categorical":
                return draw.choice(leaf.choices)
            if leaf.kind == "int":
                return draw.randint(int(leaf.low), int(leaf.high))
            return draw.uniform(leaf.low, leaf.high)

        return to_store(definition.space, definition.space.suggest(value))

    if size:
        fill(store, study, size, EPOCHS, parameters=parameters)
    if not store.is_sqlite:  # as the server's own housekeeping does in time
        with store.write() as connection:
            connection.execute(text("ANALYZE"))
    return store, study, definition


def measure(kind: str, sizes: list[int], trials: int) -> None:
    with stores(kind) as another:
        benches = [prepare(another, size, trials + 1) for size in sizes]
        for bench in benches:  # the first trial settles the counts and warms the caches
            bench.one_trial()
            bench.taken.clear()
        for _ in range(trials):
            for bench in benches:
                bench.one_trial()
        empty = medians(benches[0])
        for bench in benches:
            found = medians(bench)
            say(
                store=kind,
                trials=bench.size,
                load=load(),
                milliseconds={name: round(value, 2) for name, value in found.items()},
                over_empty={name: round(found[name] / empty[name], 2) for name in found},
            )
            bench.store.close()


def medians(bench: Bench) -> dict[str, float]:
    """Milliseconds by operation; `queue` is all of a trial's but the proposal."""
    found = {name: 1000 * statistics.median(taken) for name, taken in bench.taken.items()}
    proposals = found["propose"] + found["plain_propose"]
    return {**found, "queue": sum(found.values()) - proposals}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=KINDS, action="append", help="default: both")
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 1000, 3000, 10_000])
    parser.add_argument("--trials", type=int, default=40, help="measured at each size")
    arguments = parser.parse_args()
    say(**machine(), trials=arguments.trials)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for kind in arguments.store or KINDS:
        measure(kind, arguments.sizes, arguments.trials)
    return 0


if __name__ == "__main__":
    sys.exit(main())
