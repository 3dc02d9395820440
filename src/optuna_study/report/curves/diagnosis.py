"""What a loss curve says: the pattern it shows, what causes it, what to do about it; pure.

The patterns are the six of article B and two more: a run that never leaves chance level, and a
healthy one. Sizes are measured in the loss that guessing costs (the *level*), so that they hold
for every loss and number of classes. The losses of an own objective have no such level: there
accuracies speak, and falls relative to the first epoch. Rules are tried in the order of `_RULES`,
or of `_OWN_RULES`; the first that fits speaks.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING

from optuna_study.report.curves.advice import better_weights, lower_rate, nearer_to_guessing
from optuna_study.report.curves.patterns import (
    AT_CHANCE,
    HARDLY_LEARNED,
    Curve,
    Diagnosis,
    Expected,
    Pattern,
)
from optuna_study.report.curves.trends import (
    EXPLODED,
    FLAT,
    coming_down,
    creeping,
    falling_steadily,
    started_high,
    still_falling,
)
from optuna_study.text import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna_study.store.records import EpochRecord

FEWEST = 3
"""Epochs below which only a divergence is told."""

BACK_AT_CHANCE = 0.8
RISES = 3
RISE = 0.25
SILENT = 1.5
"""A gradient norm below so many times the output biases' reaches no weight."""

SWING = 0.05
SWING_SHARE = 0.25
GAP = 0.12
LOW, RISEN = 0.3, 0.15
DROP = 0.8
PLATEAU_MARGIN = 0.1
UNLEARNED = 0.4


def diagnose(curve: Sequence[EpochRecord], expected: Expected) -> Diagnosis:
    """The pattern of a curve, whose epochs are in order, with its cause and the advice."""
    if not curve:
        return Diagnosis(Pattern.TOO_SHORT, "No epoch was recorded.", "Look at the trial's end.")
    seen = Curve(curve, expected)
    for rule in _OWN_RULES if expected.own_objective else _RULES:
        found = rule(seen)
        if found is not None:
            return found
    return _healthy(seen)


def _not_finite(curve: Curve) -> Diagnosis | None:
    for before, epoch in zip((None, *curve.epochs), curve.epochs, strict=False):
        losses = (epoch.train_loss, epoch.validation_loss)
        # An own objective need not tell the norm, which then is NaN.
        if not all(map(math.isfinite, losses)) or math.isinf(epoch.gradient_norm):
            was = f" after {before.train_loss:.4g}" if before else ""
            return Diagnosis(
                Pattern.DIVERGING,
                f"The loss or its gradient was no longer finite in epoch {epoch.epoch}{was}, at "
                f"learning rate {epoch.lr:.4g}.",
                lower_rate(epoch.lr),
            )
    return None


def _rising(curve: Curve) -> Diagnosis | None:
    """Loss that goes back to chance level after learning, or grows ever larger."""
    best, last, level = curve.best, curve.last, curve.level
    learned = best.train_loss < AT_CHANCE * level and not curve.at_chance(best)
    back = best.train_loss + BACK_AT_CHANCE * (level - best.train_loss)
    after = [epoch for epoch in curve.epochs if epoch.epoch > best.epoch]
    returned = learned and bool(after) and all(each.train_loss > back for each in after[-2:])
    climbing = (
        len(after) >= RISES
        and all(a.train_loss < b.train_loss for a, b in pairwise(curve.epochs[-RISES - 1 :]))
        and last.train_loss - best.train_loss > RISE * level
    )
    if not (returned or climbing):
        return None
    first = after[0]
    changed = (
        f", when the learning rate went from {best.lr:.4g} to {first.lr:.4g}"
        if first.lr != best.lr
        else f" at learning rate {first.lr:.4g}"
    )
    cause = (
        f"The training loss was {best.train_loss:.4g} in epoch {best.epoch} and rose to "
        f"{last.train_loss:.4g} by epoch {last.epoch}{changed}; guessing costs {level:.4g}."
    )
    return Diagnosis(Pattern.DIVERGING, cause, lower_rate(first.lr))


def _thrown(curve: Curve) -> Diagnosis | None:
    """Loss thrown up far above chance level, by its first epoch or later, and no way back."""
    peak, last = max(curve.epochs, key=lambda epoch: epoch.train_loss), curve.last
    if peak.train_loss < EXPLODED * curve.level or last.train_loss < AT_CHANCE * curve.level:
        return None
    before = [epoch.train_loss for epoch in curve.epochs if epoch.epoch <= peak.epoch]
    rose = peak.train_loss - min(before) > RISE * curve.level
    if not rose and (coming_down(curve) or not curve.at_chance(last)):
        return None
    return Diagnosis(
        Pattern.DIVERGING,
        f"The training loss was thrown to {peak.train_loss:.4g} in epoch {peak.epoch} and ended "
        f"at {last.train_loss:.4g}, where guessing costs {curve.level:.4g}.",
        lower_rate(peak.lr),
    )


def _fallen_back(curve: Curve) -> Diagnosis | None:
    """Accuracy that goes back most of the way to chance level after learning."""
    best = min(curve.epochs, key=curve.unlearned)
    after, left = [each for each in curve.epochs if each.epoch > best.epoch], curve.unlearned(best)
    back = left + BACK_AT_CHANCE * (1 - left)
    fallen = after and all(curve.unlearned(each) > back for each in after[-2:])
    if left > BACK_AT_CHANCE or not fallen:
        return None
    return Diagnosis(
        Pattern.DIVERGING,
        f"The training accuracy was {percent(best.train_accuracy, 0)} in epoch {best.epoch} and "
        f"fell back to {percent(curve.last.train_accuracy, 0)} by epoch {curve.last.epoch}, where "
        f"guessing gives {percent(curve.expected.guessing.accuracy, 0)}.",
        lower_rate(after[0].lr),
    )


def _never_learned(curve: Curve) -> Diagnosis | None:
    """At chance level, but for lucky epochs: without a gradient, too slow, silenced, or dead."""
    last, epochs = curve.last, len(curve.epochs)
    if epochs < FEWEST or not curve.at_chance(last):
        return None
    count = curve.chance_epochs
    if count <= epochs / 2:
        return None
    of_all = f"all {count}" if count == epochs else f"{count} of {epochs}"
    own, guessing = curve.expected.own_objective, curve.expected.guessing
    where = (
        f"At chance level for {of_all} epochs: training loss {last.train_loss:.4g} and "
        f"accuracy {percent(last.train_accuracy, 0)}, where guessing gives "
        + (f"{percent(guessing.accuracy, 0)}" if own else f"{guessing.loss:.4g}")
    )
    return _silent(curve, where) or _stuck(curve, where)


def _silent(curve: Curve, where: str) -> Diagnosis | None:
    """No gradient in the weights, from the first epoch on or after it; None where unknown."""
    first, norms = curve.epochs[0], [epoch.gradient_norm for epoch in curve.epochs]
    if curve.expected.own_objective or any(map(math.isnan, norms)):
        return None
    biases = [curve.expected.bias_gradient(loss) for loss in curve.losses]
    silent = [norm < SILENT * bias for norm, bias in zip(norms, biases, strict=True)]
    if sum(silent[1:]) <= len(silent[1:]) / 2:
        return None
    later, own = median(norms[1:]), median(biases[1:])
    if silent[0]:
        return Diagnosis(
            Pattern.POOR_INITIALISATION,
            f"{where}; the gradient norm of {later:.2g} is what the output biases alone have "
            f"({own:.2g}), so none reaches the weights.",
            f"{better_weights(curve)}: weights of zero, or far too small, pass nothing on.",
        )
    return Diagnosis(
        Pattern.DEAD,
        f"{where}; the gradient norm fell from {norms[0]:.2g} in epoch 1 to {later:.2g}, "
        "what the output biases alone have: the first steps silenced the units.",
        f"Start below the learning rate of {first.lr:.4g}, say at {first.lr / 10:.2g}, or let "
        "it rise over a warm-up.",
    )


def _stuck(curve: Curve, where: str) -> Diagnosis:
    """At chance level although the weights have a gradient, as far as that is known."""
    falling = still_falling if curve.expected.own_objective else falling_steadily
    if len(curve.epochs) > FEWEST and falling(curve):
        return _slow(curve)
    norm, lr = median(epoch.gradient_norm for epoch in curve.epochs[1:]), curve.epochs[0].lr
    nowhere = "" if math.isnan(norm) else f"; a gradient norm of {norm:.2g} leads nowhere"
    return Diagnosis(
        Pattern.DEAD,
        f"{where}{nowhere}.",
        "Take an activation that does not saturate (relu, elu), a normalisation between the "
        f"layers, or another learning rate than {lr:.4g}.",
    )


def _plateau(curve: Curve) -> Diagnosis | None:
    """Flat at first, then a sudden drop."""
    count = _flat_epochs(curve)
    if count == len(curve.epochs):
        return None
    # Outputs of zero cost more than guessing by mse and bce: the way down from there is not flat.
    falling = [index for index in range(count) if curve.losses[index] > FLAT * curve.level]
    flat = count - (falling[-1] + 1 if falling else 0)
    if flat < max(FEWEST, len(curve.epochs) // 10):
        return None
    soon = curve.epochs[count : count + max(2, flat // 2)]
    if min(epoch.train_loss for epoch in soon) > DROP * curve.level:
        return None
    return Diagnosis(
        Pattern.POOR_INITIALISATION,
        f"The training loss stayed at {curve.epochs[count - 1].train_loss:.4g} for {flat} epochs "
        f"and then fell to {soon[-1].train_loss:.4g} by epoch {soon[-1].epoch}.",
        f"{better_weights(curve)}: that saves the first {count} epochs.",
    )


def _flat_epochs(curve: Curve) -> int:
    """How many epochs from the first on have learned next to nothing, as a plateau's may."""
    chance = curve.expected.guessing.accuracy
    most = chance + PLATEAU_MARGIN * (1 - chance)
    for index, epoch in enumerate(curve.epochs):
        if epoch.train_loss < AT_CHANCE * curve.level or epoch.train_accuracy > most:
            return index
    return len(curve.epochs)


def _swinging(curve: Curve) -> Diagnosis | None:
    """Up again and again, by a visible step, in the last two thirds."""
    kept = curve.losses[len(curve.losses) // 3 :]
    changes = [later - earlier for earlier, later in pairwise(kept)]
    rises = [change for change in changes if change > 0]
    often = len(rises) >= max(RISES, SWING_SHARE * len(changes))
    far = len(rises) > 1 and sum(rises) > RISE * curve.level
    if not (often or far) or fmean(rises) < SWING * curve.level:
        return None
    return Diagnosis(
        Pattern.LR_TOO_LARGE,
        f"The training loss rose in {len(rises)} of the last {len(changes)} epochs, by "
        f"{fmean(rises):.2g} on average, and fell in between, at learning rate "
        f"{curve.last.lr:.4g}.",
        f"Lower the learning rate to about {curve.last.lr / 3:.2g}, at least from epoch "
        f"{len(curve.losses) // 3 + 1} on, or take larger batches.",
    )


def _parting(curve: Curve) -> Diagnosis | None:
    """Training pictures learned by heart: validation loss rising."""
    last, lowest = curve.last, min(curve.epochs, key=lambda epoch: epoch.validation_loss)
    end = min(curve.validation[-2:])  # one epoch may stick out
    if (
        last.epoch - lowest.epoch >= 2
        and end - lowest.validation_loss > RISEN * max(lowest.validation_loss, 0.5 * curve.level)
        and last.train_loss < lowest.train_loss
    ):
        return Diagnosis(
            Pattern.OVERFIT_RISING,
            f"From epoch {lowest.epoch} on the validation loss rose from "
            f"{lowest.validation_loss:.4g} to {last.validation_loss:.4g} while the training loss "
            f"fell from {lowest.train_loss:.4g} to {last.train_loss:.4g}.",
            f"Stop near epoch {lowest.epoch}, or add pictures, augmentation, dropout or weight "
            "decay.",
        )
    return None


def _gap(curve: Curve) -> Diagnosis | None:
    """Training pictures learned by heart: validation accuracy far below theirs."""
    last = curve.last
    gap = median(e.train_accuracy - e.validation_accuracy for e in curve.epochs[-3:])
    wide = gap >= GAP  # not where an accuracy is NaN, as an own objective's may be
    if len(curve.epochs) < FEWEST or not wide or curve.unlearned(last) > LOW:
        return None
    return Diagnosis(
        Pattern.OVERFIT_GAP,
        f"Training accuracy reached {percent(last.train_accuracy, 0)} and validation accuracy "
        f"stayed at {percent(last.validation_accuracy, 0)}, with losses of "
        f"{last.train_loss:.4g} and {last.validation_loss:.4g}.",
        "Add pictures or augmentation, raise dropout or weight decay, or take a narrower model.",
    )


def _too_slow(curve: Curve) -> Diagnosis | None:
    """Both losses still falling at the planned end, far from it, or little and hardly begun."""
    enough = len(curve.epochs) > FEWEST and curve.complete
    left = curve.unlearned(curve.last)
    if not enough or left < UNLEARNED:
        return None
    falls = still_falling(curve) or (left > HARDLY_LEARNED and creeping(curve))
    return _slow(curve) if falls else None


def _hardly_better(curve: Curve) -> Diagnosis | None:
    """Luckier than guessing at the planned end, with a loss that is not below guessing's."""
    if not (curve.complete and curve.hardly_better(curve.last)):
        return None
    guessing = curve.expected.guessing
    return _stuck(
        curve,
        f"Hardly better than guessing after {len(curve.epochs)} epochs: training loss "
        f"{curve.last.train_loss:.4g} and accuracy {percent(curve.last.train_accuracy, 0)}, where "
        f"guessing gives {percent(guessing.accuracy, 0)}",
    )


def _too_short(curve: Curve) -> Diagnosis | None:
    count, planned = len(curve.epochs), curve.expected.epochs
    if count >= FEWEST:
        return None
    if not curve.complete:
        return Diagnosis(
            Pattern.TOO_SHORT,
            f"Only {count} of {planned} epochs were recorded.",
            "Nothing to do: so short a curve tells nothing.",
        )
    if not curve.hardly_better(curve.last):
        return None
    return Diagnosis(
        Pattern.TOO_SHORT,
        f"No better than guessing after {count} epoch{'s' if count > 1 else ''}: training loss "
        f"{curve.last.train_loss:.4g} and accuracy {percent(curve.last.train_accuracy, 0)}.",
        f"Train for {FEWEST} epochs or more: so short a curve does not tell slow from stuck.",
    )


def _healthy(curve: Curve) -> Diagnosis:
    first, last = curve.epochs[0], curve.last
    return Diagnosis(
        Pattern.HEALTHY,
        f"The training loss went from {first.train_loss:.4g} to {last.train_loss:.4g}, the "
        f"validation loss from {first.validation_loss:.4g} to {last.validation_loss:.4g}.",
        "Nothing to do.",
    )


def _slow(curve: Curve) -> Diagnosis:
    first, last = curve.epochs[0], curve.last
    if started_high(curve):
        return Diagnosis(
            Pattern.TOO_SLOW,
            f"The training loss began at {first.train_loss:.4g}, where guessing costs "
            f"{curve.level:.4g}, and was still falling at the end of {len(curve.epochs)} epochs: "
            f"{last.train_loss:.4g}.",
            f"{nearer_to_guessing(curve)}, or train for more than {len(curve.epochs)} epochs.",
        )
    return Diagnosis(
        Pattern.TOO_SLOW,
        f"Training and validation loss were still falling at the end of {len(curve.epochs)} "
        f"epochs: {last.train_loss:.4g} and {last.validation_loss:.4g}, from "
        f"{first.train_loss:.4g} and {first.validation_loss:.4g}.",
        f"Raise the learning rate of {max(epoch.lr for epoch in curve.epochs):.4g} about "
        f"threefold, or train for more than {len(curve.epochs)} epochs.",
    )


_RULES: tuple[Callable[[Curve], Diagnosis | None], ...] = (
    _not_finite,
    _rising,
    _thrown,
    _never_learned,
    _too_short,
    _plateau,
    _parting,
    _gap,
    _swinging,
    _too_slow,
    _hardly_better,
)
_OWN_RULES = (
    _not_finite,
    _fallen_back,
    _never_learned,
    _too_short,
    _gap,
    _too_slow,
    _hardly_better,
)
