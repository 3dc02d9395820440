"""The policies of `policies.py` on runs that `ranking.py train` has kept: searches in a second.

    python tests/benchmarks/replays.py FILE --table digits.jsonl --study digits.toml --searches 20
    python tests/benchmarks/policies.py evaluate FILE

Nothing is trained: a search draws one of the table's splits and, for each configuration, one of
its seeds; what a sampler proposes is replaced by the nearest configuration of the table that the
search has not begun yet, which is what the sampler is told. So a search chooses among a few dozen
random configurations, and samplers that would go on between them cannot. What counts is what the
configuration that it picks reaches on held-out pictures with its other seeds. Splits with fewer
configurations than others are left out. FILE is as `policies.py train` writes it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from policies import POLICIES, Bench, BudgetSpent, Training, keep  # beside this file
from ranking import BEFORE, FIGURES, by_split, held_out

from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optuna.distributions import BaseDistribution

    Runs = dict[int, dict[str, Any]]  # a run a configuration


def main() -> None:
    """Search the table with every policy that the file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--policies", nargs="*", default=list(POLICIES), help="default: all")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    definition = resolve(read_study_file(given.study), given.profile, threads=1)
    splits = by_split([json.loads(line) for line in given.table.read_text().splitlines()])
    most = max(map(len, splits.values()))
    whole = [each for _, each in sorted(splits.items()) if len(each) == most]
    known = given.file.read_text().splitlines() if given.file.exists() else []
    done = {(row["search"], row["policy"]) for row in map(json.loads, known)}
    for seed in range(given.searches):
        for name in given.policies:
            if (seed, name) in done:
                continue
            random = np.random.default_rng(seed)  # the same for all policies
            runs, others = draw(whole[int(random.integers(len(whole)))], random)
            bench = Table(definition, None, seed, given.trials, runs=runs, others=others)
            POLICIES[name](bench)
            keep(given.file, bench, name)


def draw(
    configurations: Mapping[int, Mapping[int, dict[str, Any]]], random: np.random.Generator
) -> tuple[Runs, dict[int, float]]:
    """A run of each configuration of a split, and what its other seeds reach on held-out ones."""
    runs, others = {}, {}
    for number, seeds in sorted(configurations.items()):
        chosen = int(random.choice(sorted(seeds)))
        runs[number] = seeds[chosen]
        others[number] = statistics.fmean(
            held_out(run) for seed, run in seeds.items() if seed != chosen
        )
    return runs, others


@dataclass
class Table(Bench):
    """A search of stored runs."""

    runs: Runs = field(default_factory=dict)
    others: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._left = set(self.runs)

    def ask(self, study: optuna.Study) -> optuna.Trial:
        """The stored configuration that is nearest to what the study's sampler proposes.

        Raises:
            BudgetSpent: all have been begun.
        """
        if not self._left:
            raise BudgetSpent
        proposal = super().ask(study)
        study.tell(proposal, state=optuna.trial.TrialState.FAIL)  # no sampler looks at these
        wanted, scales = proposal.params, proposal.distributions
        nearest = min(
            sorted(self._left),
            key=lambda number: distance(wanted, self.runs[number]["parameters"], scales),
        )
        self._left.remove(nearest)
        study.enqueue_trial(self.runs[nearest]["parameters"])
        return super().ask(study)

    def begin(self, parameters: dict[str, Any]) -> Training:
        """The stored run of a configuration, from its first epoch."""
        number = next(n for n, run in self.runs.items() if run["parameters"] == parameters)
        self.begun += 1
        return Training(self, self._stored(self.runs[number]), lambda: self.others[number])

    def _stored(self, run: dict[str, Any]) -> Iterator[float | None]:
        for last in range(1, len(run["curve"]) + 1):
            yield FIGURES[BEFORE]({"curve": run["curve"][:last]})
        yield None  # only of one that diverged is more asked


def distance(
    first: Mapping[str, Any], second: Mapping[str, Any], scales: Mapping[str, BaseDistribution]
) -> float:
    """How far two configurations are apart, squared: 1 a parameter at most."""
    total = 0.0
    for name in first.keys() | second.keys():
        if name not in first or name not in second:
            total += 1
            continue
        scale = scales[name]
        if isinstance(scale, optuna.distributions.CategoricalDistribution):
            total += first[name] != second[name]
        else:
            assert isinstance(
                scale,
                optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution,
            )
            place = math.log if scale.log else float
            width = place(scale.high) - place(scale.low)
            total += ((place(first[name]) - place(second[name])) / width) ** 2 if width else 0
    return total


if __name__ == "__main__":
    main()
