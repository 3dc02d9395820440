"""What is chosen from a Pareto front: its knee, or what a person prefers; pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optuna_study.config.epoch import COSTS
from optuna_study.errors import NotFoundError, UsageError
from optuna_study.report import values
from optuna_study.store.pareto import Weighed, front, second_metric
from optuna_study.store.schema import SIDE_COUNTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.report.summary import Summary
    from optuna_study.store.records import StudyRecord

KNEE = "knee"
ASKED_AS = {"validation_accuracy": "accuracy", "prediction_seconds": "seconds"}
"""How people name an objective that a study has under a longer name."""


def knee(along: Sequence[Weighed], cost: str) -> Weighed:
    """The trial of a front that lies farthest from the line between the front's ends.

    The knee of I. Das (1999): from there either objective is bought dearest with the other. Both
    axes are scaled to their range; that of what a model costs is logarithmic, since twice as slow
    is as much worse whatever it was. On a straight front the best by the metric.
    """

    def place(each: Weighed) -> tuple[float, float]:
        logarithmic = cost in COSTS and all(one.second > 0 for one in along)
        return each.value, math.log(each.second) if logarithmic else each.second

    (first_value, first_cost), (last_value, last_cost) = place(along[0]), place(along[-1])
    height, width = first_value - last_value, first_cost - last_cost
    if not all(map(math.isfinite, (height, width))) or not height or not width:
        return along[0]

    def distance(each: Weighed) -> float:
        value, second = place(each)
        return (value - last_value) / height - (second - last_cost) / width

    found = max(along, key=distance)
    return found if distance(found) > STRAIGHT else along[0]


STRAIGHT = 1e-9  # of the axes' range: no farther from a line than that is on it


def choose(summary: Summary, prefer: str) -> int:
    """The number of the trial that a preference means: an objective's name, or `knee`.

    The metric's name means the winner. The second objective's means the best by it among those
    that are no more than a binomial standard error worse than the best of the front, the rule of
    Breiman et al. (Classification and Regression Trees, 1984), where the metric is a share of
    pictures; else the best by it.

    Raises:
        UsageError: the study has no such objective, or one alone.
        NotFoundError: no trial has completed.
    """
    study, second = summary.study, second_metric(summary.study)
    if second is None:
        raise UsageError(
            f"--prefer {prefer}: study '{study.name}' has one objective",
            "leave the option out for its best trial",
        )
    names = [ASKED_AS.get(each, each) for each in (study.metric, second)]
    if prefer not in (*names, study.metric, second, KNEE):
        known = f"give one of {', '.join([*names, KNEE])}"
        raise UsageError(f"--prefer {prefer}: no objective of '{study.name}'", known)
    along = front(summary.weighed, study)
    if summary.winner is None or not along:
        raise NotFoundError(f"no trial of '{study.name}' has completed")
    if prefer in (names[0], study.metric):
        return summary.winner.number
    if prefer == KNEE:
        return knee(along, second).number
    return [each for each in along if _hardly_worse(each, along[0], study)][-1].number


def _hardly_worse(each: Weighed, best: Weighed, study: StudyRecord) -> bool:
    pictures = (study.environment.get(SIDE_COUNTS) or {}).get("validation")
    if study.metric not in values.SHARES or not pictures:
        return True
    error = math.sqrt(best.value * (1 - best.value) / pictures)
    return best.value - each.value <= error
