"""The part of a long history that a sampler learns from."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import FrozenTrial

MOST_TRIALS = 1000
"""Ended trials that TPE weighs; each costs it the same for every parameter that it draws."""

BEST_TRIALS = 25
"""The best, which TPE draws new ones beside: Optuna's `default_gamma` never gives it more."""

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def part_of(
    trials: Sequence[FrozenTrial], *, maximize: bool, most: int = MOST_TRIALS
) -> Sequence[FrozenTrial]:
    """Trials of a study with one objective, without the ended ones that TPE can do without.

    Of more than `most` that have ended the best BEST_TRIALS stay, which TPE draws new ones beside,
    and of the others, which it draws away from, an even part: as many of old as of new ones, so
    that Optuna's weights, which fall with age, stay about the same. All that run stay, too.
    """
    ended = [each for each in trials if each.state in ENDED]
    if len(ended) <= most:
        return trials
    done = [each for each in ended if each.state is TrialState.COMPLETE]
    done.sort(key=lambda each: each.values[0], reverse=maximize)
    best = {each.number for each in islice(filter(_is_feasible, done), BEST_TRIALS)}
    if len(best) < BEST_TRIALS:  # pruned or infeasible ones are among its best, then
        return trials
    others = [each.number for each in ended if each.number not in best]
    left = most - len(best)
    kept = best | {others[index * len(others) // left - 1] for index in range(1, left + 1)}
    return [each for each in trials if each.state not in ENDED or each.number in kept]


def _is_feasible(trial: FrozenTrial) -> bool:
    return not any(value > 0 for value in trial.constraints.values())
