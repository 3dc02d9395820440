"""Whether a training run gave what the search recorded; pure.

On one machine it must, to the last bit. Where torch, threads or the instruction set differ, sums
are taken in another order, and curves drift apart as two runs of one configuration would: then
the last epoch's accuracy is compared, within three binomial standard errors of the number of
validation pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna_study.config.reproducibility import differing
from optuna_study.text import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STANDARD_ERRORS = 3


@dataclass(frozen=True)
class Outcome:
    """What is compared: the metric's value, and for each figure its values by epoch."""

    value: float | None
    curve: Mapping[str, tuple[float, ...]]

    @property
    def epochs(self) -> int:
        """How many epochs the longest figure has."""
        return max((len(values) for values in self.curve.values()), default=0)

    def until(self, epoch: int) -> Outcome:
        """What it was after an earlier epoch; the value is left out, the curve has it."""
        cut = {name: values[:epoch] for name, values in self.curve.items()}
        return Outcome(None, cut)

    @property
    def accuracy(self) -> float:
        """The last epoch's validation accuracy, NaN without one."""
        values = self.curve.get("validation_accuracy", ())
        return values[-1] if values else math.nan


@dataclass(frozen=True)
class Verdict:
    """`exact`: equality to the last bit was asked for; `sentences` say what was found."""

    matches: bool
    exact: bool
    sentences: tuple[str, ...]


def compare(recorded: Outcome, found: Outcome, differing: Sequence[str], pictures: int) -> Verdict:
    """Compare a run with the recorded one; `differing` are sentences from `differences`.

    `pictures` is the size of the validation split. A trial that the search stopped early is
    compared as far as it got.
    """
    if 0 < recorded.epochs < found.epochs:
        stopped = recorded.epochs
        verdict = compare(recorded.until(stopped), found.until(stopped), differing, pictures)
        more = f"the search stopped this trial after epoch {stopped}; up to there "
        first, *rest = verdict.sentences
        return Verdict(verdict.matches, verdict.exact, (more + first, *rest))
    if differing:
        return _close(recorded, found, differing, pictures)
    difference = _first_difference(recorded, found)
    if difference is not None:
        return Verdict(False, True, (difference,))
    what = "all" if recorded.value is None else "value and all"
    sentence = f"{what} {found.epochs} epochs agree to the last bit"
    return Verdict(True, True, (sentence,))


def differences(
    recorded: Mapping[str, Any], here: Mapping[str, Any], *, resumed_elsewhere: bool
) -> tuple[str, ...]:
    """What keeps two runs from being equal to the last bit, a sentence each."""
    found = [*differing(recorded, here)]
    if not found and not str(here.get("device", "cpu")).startswith("cpu"):
        found.append(f"{here['device']} does not add in a fixed order")
    if resumed_elsewhere:
        found.append("the recorded trial was continued on other hardware")
    return tuple(found)


def tolerance(accuracy: float, pictures: int) -> float:
    """Three binomial standard errors of an accuracy measured on so many pictures.

    An accuracy of 0 or 1 has no spread of its own: half a picture is taken off.

    >>> round(tolerance(0.9, 169), 3)
    0.069
    """
    edge = 0.5 / pictures
    share = min(max(accuracy, edge), 1 - edge)
    return STANDARD_ERRORS * math.sqrt(share * (1 - share) / pictures)


def _close(recorded: Outcome, found: Outcome, differing: Sequence[str], pictures: int) -> Verdict:
    allowed = tolerance(recorded.accuracy, pictures)
    gap = abs(found.accuracy - recorded.accuracy)
    matches = gap <= allowed  # false for NaN too
    sentence = (
        f"not comparable to the last bit ({'; '.join(differing)}); validation accuracy "
        f"{percent(found.accuracy, 2)}, recorded {percent(recorded.accuracy, 2)}, "
        f"{'within' if matches else 'more than'} {STANDARD_ERRORS} standard errors "
        f"({100 * allowed:.2f} points at {pictures} pictures)"
    )
    return Verdict(matches, False, (sentence,))


def _first_difference(recorded: Outcome, found: Outcome) -> str | None:
    if recorded.epochs != found.epochs:
        return f"{found.epochs} epochs, recorded were {recorded.epochs}"
    for epoch in range(recorded.epochs):
        for name, values in recorded.curve.items():
            theirs, ours = values[epoch : epoch + 1], found.curve.get(name, ())[epoch : epoch + 1]
            if theirs != ours:
                return (
                    f"epoch {epoch + 1}: {name} is {_shown(ours)}, recorded was {_shown(theirs)}"
                )
    if recorded.value != found.value:
        return f"the curve agrees, yet the value is {found.value!r}, not {recorded.value!r}"
    return None


def _shown(values: Sequence[float]) -> str:
    return repr(values[0]) if values else "missing"
