from __future__ import annotations

from typing import Literal, TypeAlias

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_study.search.history import BEST_TRIALS, ENDED, part_of

Direction: TypeAlias = Literal["minimize", "maximize"]


def study_of(direction: Direction, count: int, completed: int = 3) -> optuna.Study:
    """Ended trials, `completed` of four of them completed, and three that run."""
    study = optuna.create_study(direction=direction)
    for number in range(count):
        done = number % 4 < completed
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if done else TrialState.PRUNED,
                value=number * 37 % 101 / 100,  # equals among them
                params={"x": number / count},
                distributions={"x": FloatDistribution(0, 1)},
                intermediate_values={} if done else {1: 0.5},
                # As a diverged one, which no value makes one of the best.
                system_attrs={"constraints:infeasible": 1.0} if number % 7 == 0 else {},
            )
        )
    for _ in range(3):
        study.ask()
    return study


def split(study: optuna.Study, trials: list[FrozenTrial]) -> tuple[list[int], list[int]]:
    """The numbers of the trials that TPE draws new ones beside, and of the others."""
    seen = [each for each in trials if each.state in (*ENDED, TrialState.RUNNING)]
    below, above = _split_trials(study, seen, default_gamma(len(trials)))
    return [each.number for each in below], [each.number for each in above]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_part_has_the_same_best_ones_and_an_even_share_of_the_others(
    direction: Direction,
) -> None:
    study = study_of(direction, 2000)
    trials = study.get_trials(deepcopy=False)
    part = list(part_of(trials, maximize=direction == "maximize", most=500))
    best, others = split(study, trials)
    kept_best, kept_others = split(study, part)
    assert kept_best == best
    assert len(best) == BEST_TRIALS == default_gamma(10**9)
    assert len(kept_best) + len(kept_others) == 500 + 3
    assert kept_others[-4] == others[-4]  # the newest that has ended
    assert kept_others[-3:] == others[-3:] == [2000, 2001, 2002]  # these run
    for begin in range(0, 2000, 200):  # a quarter of each tenth
        share = [number for number in kept_others if begin <= number < begin + 200]
        assert len(share) == pytest.approx(475 / 10, abs=5)


def test_a_history_that_is_short_or_has_few_completed_trials_is_left_whole() -> None:
    trials = study_of("minimize", 100).get_trials(deepcopy=False)
    assert part_of(trials, maximize=False, most=100) is trials
    assert len(part_of(trials, maximize=False, most=99)) == 99 + 3
    mostly_pruned = study_of("minimize", 100, completed=1).get_trials(deepcopy=False)
    assert part_of(mostly_pruned, maximize=False, most=50) is mostly_pruned
