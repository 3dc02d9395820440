"""What proposals are worth of a TPE that looks at a part of a long history, or at all of it.

`python tests/benchmarks/long_history.py [--seeds N...] [--trials N] [--most N...]`. Eight
parameters, two of them choices, and two objectives that are known: a bowl, and one with many
hollows in it. Values have noise, as an accuracy has. Every side goes on from the same 1,000
trials; a side is how many trials the sampler looks at (0: all). Prints a line of JSON a side and
seed: the mean value without noise of what was proposed in the last third, the best of all, and
seconds a proposal.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import InMemoryStorage
from stand import machine, say

from optuna_study.search import samplers
from optuna_study.search.history import part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from optuna.trial import FrozenTrial

    Shape: TypeAlias = Callable[[list[float]], float]

NUMBERS = [f"number {index}" for index in range(6)]
CHOICES = {"choice 0": 4, "choice 1": 3}
START = 1000  # trials that all sides have in common
NOISE = 0.01


class Part(InMemoryStorage):
    """Trials in memory, of which a sampler is shown a part."""

    most = 0

    def get_all_trials(self, *arguments: Any, **named: Any) -> list[FrozenTrial]:
        found = super().get_all_trials(*arguments, **named)
        return list(part_of(found, maximize=True, most=self.most)) if self.most else found


def bowl(offsets: list[float]) -> float:
    return 1 - statistics.fmean(offset * offset for offset in offsets)


def hollows(offsets: list[float]) -> float:
    return bowl(offsets) - statistics.fmean(
        0.05 * (1 - math.cos(8 * math.pi * offset)) for offset in offsets
    )


def value(trial: optuna.Trial, seed: int, shape: Shape) -> float:
    """What a trial's parameters are worth; where the best ones are depends on the seed."""
    draw = random.Random(seed)
    offsets = [trial.suggest_float(name, 0.0, 1.0) - draw.random() for name in NUMBERS]
    for name, count in CHOICES.items():
        ranks = draw.sample(range(count), count)
        offsets.append(ranks[trial.suggest_categorical(name, range(count))] / count)
    return shape(offsets)


class Search:
    """One study; what its proposals are worth, without noise."""

    def __init__(self, shape: Shape, seed: int, most: int, begun: Sequence[FrozenTrial]) -> None:
        self._storage = Part()
        self._storage.most = most
        self.study = optuna.create_study(storage=self._storage, direction="maximize")
        self.study.add_trials(begun)
        self._shape, self._seed, self._first = shape, seed, len(begun)

    def go_on(self, until: int) -> list[float]:
        names, values = [*NUMBERS, *CHOICES], []
        for number in range(self._first, until):
            self.study.sampler = samplers.tpe(self._seed, number, 0, startup=20, names=names)
            trial = self.study.ask()
            values.append(value(trial, self._seed, self._shape))
            noise = random.Random(f"{self._seed} {number}").gauss(0, NOISE)
            self.study.tell(trial, values[-1] + noise)
        return values


def measure(shape: Shape, seed: int, sides: Sequence[int], trials: int) -> None:
    begin = Search(shape, seed, 0, ())
    first = begin.go_on(START)
    begun = begin.study.get_trials(deepcopy=False)
    for most in sides:
        side, began = Search(shape, seed, most, begun), time.process_time()
        values = side.go_on(trials)
        taken = time.process_time() - began
        say(
            shape=shape.__name__,
            seed=seed,
            most=most,
            mean=round(statistics.fmean(values[-((trials - START) // 3) :]), 5),
            best=round(max(*first, *values), 5),
            milliseconds=round(1000 * taken / len(values), 1),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--trials", type=int, default=2500)
    parser.add_argument("--most", type=int, nargs="+", default=[0, 1000])
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    say(**machine())
    for seed in arguments.seeds:
        for shape in (bowl, hollows):
            measure(shape, seed, arguments.most, arguments.trials)


if __name__ == "__main__":
    main()
