"""How the losses of a curve fall, and from where; pure."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from optuna_study.report.curves.patterns import AT_CHANCE, Curve

if TYPE_CHECKING:
    from collections.abc import Sequence


EXPLODED, FLAT = 3.0, 1.25
"""How many times guessing's loss is far above it, and how many are still near it."""

STEADY, EPOCHS_NOT_LUCK = 0.8, 8


def still_falling(curve: Curve) -> bool:
    """Whether both losses still fall at the end by a visible part of guessing's."""
    own = curve.expected.own_objective
    trained, validated = (
        0.01 * (abs(losses[0]) if own else curve.level)
        for losses in (curve.losses, curve.validation)
    )
    return _last_fall(curve.losses) > 2 * trained and _last_fall(curve.validation) > validated


def creeping(curve: Curve) -> bool:
    """Whether both losses fell in nearly every epoch and, however little, at the end, too."""
    return _mostly_falling(curve) and min(map(_last_fall, (curve.losses, curve.validation))) > 0


def _last_fall(losses: Sequence[float]) -> float:
    """How far the last quarter's losses lie below those of the quarter before."""
    size = max(1, len(losses) // 4)
    return fmean(losses[-2 * size : -size]) - fmean(losses[-size:])


def started_high(curve: Curve) -> bool:
    """Whether the first epoch cost several times what guessing does, as large weights make it."""
    return not curve.expected.own_objective and curve.losses[0] > EXPLODED * curve.level


def coming_down(curve: Curve) -> bool:
    """Whether the loss began far above chance level, is still above it and fell all the way."""
    falls = [later < earlier for earlier, later in pairwise(curve.losses)]
    above = curve.last.train_loss > FLAT * curve.level
    return started_high(curve) and above and bool(falls) and all(falls)


def falling_steadily(curve: Curve) -> bool:
    """Whether losses near chance level fall in nearly every epoch, however little.

    Both must be below what guessing costs, or the training loss on its way there: output biases
    alone bring a loss down to that level. A few epochs fall by luck.
    """
    if coming_down(curve):
        return True
    below = max(curve.last.train_loss, curve.last.validation_loss) < curve.level
    heading = len(curve.epochs) >= EPOCHS_NOT_LUCK and _limit(curve) < AT_CHANCE * curve.level
    return (below or heading) and _mostly_falling(curve)


def _mostly_falling(curve: Curve) -> bool:
    """Whether both losses fell in nearly every epoch, wherever they are."""
    falls = [
        later < earlier
        for losses in (curve.losses, curve.validation)
        for earlier, later in pairwise(losses)
    ]
    return sum(falls) >= STEADY * len(falls)


def _limit(curve: Curve) -> float:
    """Where the training loss would end if its falls went on shrinking as they have so far.

    A third of the epochs fell by `one`, the next by `other`: those to come are a geometric series.
    """
    size = len(curve.losses) // 3
    early, middle, late = (
        fmean(curve.losses[len(curve.losses) - size * part :][:size]) for part in (3, 2, 1)
    )
    one, other = early - middle, middle - late
    return late - other**2 / (one - other) if one > other else -math.inf
