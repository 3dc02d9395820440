"""Is the verdict on a winner calibrated? Simulated studies, a line of JSON each; --table for docs.

A study has a baseline and 24 searched trials, each trained once, ranked by validation accuracy on
the same 186 pictures; the best three and the baseline are trained on fresh seeds and tested on 234
pictures. A net answers a picture right when a normal variable exceeds its threshold: half of the
variance is the picture's difficulty, a tenth what this configuration makes of this picture
whatever its seed, the rest the run's; a run's skill itself varies by its seed. (Two nets of one
configuration then agree on about 90 % of pictures, as ours do.) So the search is flattered by its
pictures as a real one is.

    python tests/benchmarks/verdicts.py --simulations 500 --table
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from optuna_study.report.confirmation.verdict import Known, Outcome, judge
from optuna_study.store.queue.confirmation import can_win
from optuna_study.store.records import ConfirmationRun, EndKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRIALS, TOP = 24, 3
SHARED, OWN = 0.5, 0.1  # of the variance: a picture's difficulty, a configuration's view of it
SEED_DEVIATION = 0.08  # of a run's skill in standard deviations: about 1.4 points at 88 %
BASELINE = 0.86


@dataclass(frozen=True)
class Case:
    """How much better, in accuracy, how many of the searched trials are than the baseline."""

    name: str
    ahead: float
    how_many: int
    others: float = 0.0  # how far the rest is ahead
    deviation: float = SEED_DEVIATION


CASES = (
    Case("tie", 0.0, TRIALS),
    Case("tie, unsteady seeds", 0.0, TRIALS, deviation=0.16),
    Case("tie, very unsteady seeds", 0.0, TRIALS, deviation=0.4),
    Case("loser", -0.02, TRIALS),
    Case("loser, by much", -0.05, TRIALS),
    Case("tie among losers", 0.0, 4, -0.03),
    Case("winner by 1 point", 0.01, 6),
    Case("winner by 2 points", 0.02, 6),
    Case("winner by 3 points", 0.03, 6),
    Case("winner by 5 points", 0.05, 6),
    Case("winner by 8 points", 0.08, 6),
)


def simulate(
    random: np.random.Generator, case: Case, seeds: int, validation: int, test: int
) -> tuple[Outcome, bool]:
    """The verdict of one study, and whether its winner is truly better than the baseline."""
    gains = np.full(TRIALS + 1, case.others)
    gains[: case.how_many], gains[TRIALS] = case.ahead, 0.0
    skill = ndtri(BASELINE + gains)
    pictures = validation + test
    difficulty = np.sqrt(SHARED) * random.standard_normal(pictures)
    view = np.sqrt(OWN) * random.standard_normal((TRIALS + 1, pictures))

    def run(trial: int) -> NDArray[np.bool_]:
        noise = np.sqrt(1 - SHARED - OWN) * random.standard_normal(pictures)
        luck = case.deviation * random.standard_normal()
        right: NDArray[np.bool_] = skill[trial] + luck + difficulty + view[trial] + noise > 0
        return right

    searched = np.array([run(trial)[:validation].mean() for trial in range(TRIALS)])
    finalists = [int(trial) for trial in np.argsort(-searched, kind="stable")[:TOP]]
    runs: list[ConfirmationRun] = []
    values: dict[int, list[float]] = {trial: [] for trial in finalists}
    for seed in range(seeds):
        open_ones = can_win(values, "maximize", validation) if seed else set(finalists)
        for trial in (*(each for each in finalists if each in open_ones), TRIALS):
            right = run(trial)
            value, tested = float(right[:validation].mean()), float(right[validation:].mean())
            if trial != TRIALS:
                values[trial].append(value)
            runs.append(ConfirmationRun(len(runs), trial, seed, EndKind.COMPLETED, value, tested))
    known = Known("maximize", True, validation, test, 0.5)
    verdict = judge(runs, frozenset({TRIALS}), known)
    assert verdict is not None
    return verdict.outcome, bool(gains[verdict.winner.trial] > 0)


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validation", type=int, default=186)
    parser.add_argument("--test", type=int, default=234)
    parser.add_argument("--table", action="store_true", help="a row of a Markdown table each")
    given = parser.parse_args()
    for case in CASES:
        random = np.random.default_rng([7, given.seeds, given.test])
        found = [
            simulate(random, case, given.seeds, given.validation, given.test)
            for _ in range(given.simulations)
        ]
        shares = {
            "better": sum(outcome is Outcome.BETTER for outcome, _ in found),
            "wrong": sum(outcome is Outcome.BETTER and not truly for outcome, truly in found),
            "worse": sum(outcome is Outcome.WORSE for outcome, _ in found),
        }
        row = {
            "case": case.name,
            "seeds": given.seeds,
            "test": given.test,
            **{name: amount / given.simulations for name, amount in shares.items()},
        }
        if given.table:
            cells = [
                f"{100 * cell:.1f} %" if isinstance(cell, float) else cell for cell in row.values()
            ]
            print("|", *(f"{cell} |" for cell in cells))  # noqa: T201
        else:
            print(json.dumps(row))  # noqa: T201


if __name__ == "__main__":
    main()
