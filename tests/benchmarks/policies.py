"""Which policy finds more: samplers and rules of giving up, at an equal number of epochs.

    python tests/benchmarks/policies.py train FILE --study digits.toml --searches 20 --trials 24
    python tests/benchmarks/policies.py evaluate FILE...

`train` runs whole searches of a study's own space, one worker each: every policy may train
`--trials` times the study's epochs, however it deals them out; a trial that has not ended by then
is none. Search S draws its own split of the pictures (train, validation and test) and its own
study seed, the same for all policies, so that they are compared in pairs. A line of JSON a search
goes to FILE; `train` goes on where it was stopped. `evaluate` prints, for half of the budget and
for all of it, the held-out accuracy of what the search picks by the study's metric, with what it
is ahead of the first policy, in pairs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import torch
from ranking import pictures  # beside this file

from optuna_study.config.settings import with_settings
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.search import pruner, samplers, suggest
from optuna_study.search.objective import to_record
from optuna_study.seeds import sampler_seed, trial_seed
from optuna_study.space.space import build
from optuna_study.training.loop import epochs
from optuna_study.training.run import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna_study.definition.model import Definition
    from optuna_study.training.run import Run

ETA = 3  # promotion: one in so many goes on, so many times as far


def main() -> None:
    """Search, or evaluate what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "evaluate"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--workspace", type=Path, default=Path("storage"))
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--policies", nargs="*", default=list(POLICIES), help="default: all")
    given = parser.parse_args()
    if given.what == "train":
        train(given)
        return
    for path in given.files:
        for row in evaluate([json.loads(line) for line in path.read_text().splitlines()]):
            print("|", *(f"{cell} |" for cell in (path.stem, *row)))  # noqa: T201


def train(given: argparse.Namespace) -> None:
    """Search with every policy that the file does not have yet."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    torch.set_num_threads(1)
    definition = resolve(read_study_file(given.study), given.profile, threads=1)
    path = given.files[0]
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["search"], row["policy"]) for row in known}
    for seed in range(given.searches):
        data = None
        for name in given.policies:
            if (seed, name) in done:
                continue
            policy = POLICIES[name]
            data = data or pictures(definition.config, given, seed)[0]
            bench = Bench(definition, data, seed, given.trials)
            policy(bench)
            keep(path, bench, name)


def keep(path: Path, bench: Bench, policy: str) -> None:
    """Add what a search found to a file."""
    row = {"search": bench.seed, "policy": policy, "trials": bench.found(), "begun": bench.begun}
    with path.open("a") as file:
        file.write(json.dumps(row | {"budget": bench.budget}) + "\n")
    sys.stderr.write(f"{bench.seed} {policy} {bench.begun}\n")


@dataclass
class Training:
    """A trial's run, epoch after epoch as it is asked for."""

    bench: Bench
    values: Iterator[float | None]  # the study's metric; None where it diverged
    tested: Callable[[], float]  # its held-out accuracy

    def next(self) -> float | None:
        """The study's metric after one more epoch; None when it diverged."""
        value = next(self.values)
        self.bench.spend()
        return value


class BudgetSpent(Exception):
    """All epochs have been trained."""


@dataclass
class Bench:
    """What a policy searches: a space, pictures, and so many epochs."""

    definition: Definition
    data: Any
    seed: int
    trials: int
    spent: int = 0
    begun: int = 0
    _found: list[dict[str, float]] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs of a whole run."""
        return self.definition.config.train.epochs

    @property
    def budget(self) -> int:
        """Epochs of the search."""
        return self.trials * self.epochs

    def spend(self) -> None:
        """Count an epoch."""
        self.spent += 1

    def ask(self, study: optuna.Study) -> optuna.Trial:
        """A trial with the parameters that the study's sampler proposes."""
        trial = study.ask()
        self.definition.space.suggest(suggest.drawing(trial))
        return trial

    def begin(self, parameters: dict[str, Any]) -> Training:
        """A configuration's run, which has not trained yet."""
        definition = self.definition
        config = build(definition.config, definition.space, parameters, {})
        config = with_settings(config, {"seed": trial_seed(self.seed, self.begun)})
        self.begun += 1
        run = prepare(config, self.data, torch.device("cpu"))
        return Training(self, self._values(run), lambda: run.test().accuracy)

    def _values(self, run: Run) -> Iterator[float | None]:
        for result in epochs(run):
            diverged = result.divergence is not None
            yield None if diverged else to_record(result, self.definition.search.metric).value

    def check(self) -> None:
        """Whether there are epochs left.

        Raises:
            BudgetSpent: none.
        """
        if self.spent >= self.budget:
            raise BudgetSpent

    def complete(self, value: float, training: Training) -> None:
        """Note a trial that has trained all its epochs."""
        self._found.append({"spent": self.spent, "value": value, "test": training.tested()})

    def found(self) -> list[dict[str, float]]:
        """The completed trials, in the order of their ends."""
        return self._found


def searching(
    sampler: Callable[[Bench, int], optuna.samplers.BaseSampler],
    rule: pruner.Decide | None = None,
    optunas: optuna.pruners.BasePruner | None = None,
) -> Callable[[Bench], None]:
    """A policy: trials one after the other, each given up by a rule of ours or of Optuna's."""

    def search(bench: Bench) -> None:
        direction = bench.definition.search.direction
        towards = optuna.study.StudyDirection[direction.upper()]
        study = optuna.create_study(direction=towards, pruner=optunas)
        reported: dict[int, list[float]] = defaultdict(list)
        try:
            while True:
                bench.check()
                study.sampler = sampler(bench, bench.begun)
                trial = bench.ask(study)
                training = bench.begin(dict(trial.params))
                given_up, value = False, None
                for epoch in range(1, bench.epochs + 1):
                    bench.check()
                    value = training.next()
                    if value is None:
                        trial.set_constraint("infeasible", 1.0)
                        break
                    trial.report(value, epoch)
                    if rule is not None:
                        others = tuple(reported[epoch])
                        reported[epoch].append(value)
                        cut = rule(epoch, value, partial(tuple, others), direction, bench.epochs)
                        given_up = cut is not None
                    given_up = given_up or (optunas is not None and trial.should_prune())
                    if given_up:
                        break
                if value is None or given_up:
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    continue
                bench.complete(value, training)
                study.tell(trial, value)
        except BudgetSpent:
            return

    return search


def ours(name: str) -> Callable[[Bench, int], optuna.samplers.BaseSampler]:
    """One of our samplers, with a quarter of the budget for start-up points."""

    def make(bench: Bench, number: int) -> optuna.samplers.BaseSampler:
        names = [leaf.name for leaf in bench.definition.space.leaves()]
        startup = min(bench.definition.search.startup_trials, bench.trials // 4)
        made: optuna.samplers.BaseSampler = getattr(samplers, name)(
            bench.seed, number, baselines=0, startup=startup, names=names
        )
        return made

    return make


def optunas_default(bench: Bench, number: int) -> optuna.samplers.BaseSampler:
    """TPE as Optuna makes it; made anew a trial, since it is seeded anew."""
    return optuna.samplers.TPESampler(seed=sampler_seed(bench.seed, number))


@dataclass
class Promotion:
    """Successive halving by promotion (ASHA, Li et al. 2020), configurations at random.

    A trial waits at a rung, and is resumed when it is among the best third that reached it.
    """

    bench: Bench
    levels: list[int] = field(init=False)
    _rungs: list[list[tuple[float, Training]]] = field(init=False)
    _promoted: list[set[int]] = field(init=False)

    def __post_init__(self) -> None:
        epochs = self.bench.epochs
        self.levels = sorted({math.ceil(epochs / ETA**power) for power in range(3)})
        self._rungs = [[] for _ in self.levels]
        self._promoted = [set() for _ in self.levels]

    def search(self) -> None:
        """Until the budget is spent."""
        bench, study, random = self.bench, optuna.create_study(), ours("random")
        try:
            while True:
                found = self._promotable()
                if found is not None:
                    self._advance(*found)
                    continue
                study.sampler = random(bench, bench.begun)
                trial = bench.ask(study)
                self._advance(0, bench.begin(dict(trial.params)))
        except BudgetSpent:
            return

    def _promotable(self) -> tuple[int, Training] | None:
        """A trial that may go on to a rung; the highest rung first."""
        for rung in reversed(range(len(self.levels) - 1)):
            ranks, promoted = self._rungs[rung], self._promoted[rung]
            order = sorted(range(len(ranks)), key=lambda place: -ranks[place][0])
            for place in order[: len(order) // ETA]:
                if place not in promoted and ranks[place][0] > -math.inf:
                    promoted.add(place)
                    return rung + 1, ranks[place][1]
        return None

    def _advance(self, rung: int, training: Training) -> None:
        """Train as far as a rung."""
        sign = 1.0 if self.bench.definition.search.direction == "maximize" else -1.0
        value: float | None = None
        for _ in range(0 if rung == 0 else self.levels[rung - 1], self.levels[rung]):
            self.bench.check()
            value = training.next()
            if value is None:
                break
        self._rungs[rung].append((-math.inf if value is None else sign * value, training))
        if value is not None and rung == len(self.levels) - 1:
            self.bench.complete(value, training)


POLICIES: dict[str, Callable[[Bench], None]] = {
    "ours: tpe and rungs": searching(ours("tpe"), pruner.decide),
    "tpe, nothing given up": searching(ours("tpe")),
    "Optuna's: its tpe and median": searching(
        optunas_default, optunas=optuna.pruners.MedianPruner()
    ),
    "gp and rungs": searching(ours("gp"), pruner.decide),
    "random and rungs": searching(ours("random"), pruner.decide),
    "random": searching(ours("random")),
    "promotion of random ones": lambda bench: Promotion(bench).search(),
}


def evaluate(rows: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """A row a policy: searches, trials begun, held-out accuracy of the pick, lead over the first.

    Once for half of the budget and once for all of it.
    """
    found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        found[row["policy"]][row["search"]] = row
    first = next(iter(POLICIES))
    for name, searches in found.items():
        common = searches.keys() & found[first].keys()
        begun = statistics.fmean(searches[seed]["begun"] for seed in common)
        cells = [name, str(len(common)), f"{begun:.0f}"]
        for share in (0.5, 1.0):
            own = [pick(searches[seed], share) for seed in sorted(common)]
            base = [pick(found[first][seed], share) for seed in sorted(common)]
            lead = [a - b for a, b in zip(own, base, strict=True)]
            cells += [_spread(own), "-" if name == first else f"{_spread(lead, signed=True)}"]
        yield cells


def pick(row: dict[str, Any], share: float) -> float:
    """The held-out accuracy of the best trial that had ended by a share of the budget."""
    ended = [trial for trial in row["trials"] if trial["spent"] <= share * row["budget"]]
    best = max(ended, key=lambda trial: trial["value"], default=None)
    return 0.0 if best is None else float(best["test"])


def _spread(values: Sequence[float], *, signed: bool = False) -> str:
    """A mean of fractions in per cent, with its standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):{'+' if signed else ''}.2f} ± {100 * error:.2f}"


if __name__ == "__main__":
    main()
