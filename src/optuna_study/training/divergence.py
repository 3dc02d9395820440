"""The watch over a run: numbers in, the reason to give up out; it sees only plain floats.

Four signs:
- non_finite: a loss or gradient that is NaN or infinite, at once;
- exploding: the mean loss of two chunks of steps in a row (64 steps, or two epochs where these are
  shorter, but 16 steps at least) above ten times the starting level, which is the first step's
  loss or what guessing costs, whichever is more;
- dead: no better than guessing by class frequencies, in loss and in accuracy, on training and on
  validation pictures, nor in log loss and the mean recall of the classes there (where nine in ten
  pictures are of one class, accuracy hardly tells who learns from who guesses), for half of the
  run's epochs (3 at least, and 100 steps; no more are asked than 20 once these have 500 steps; the
  warm-up does not count), or for 3 epochs and 100 steps after it had learned something. A net on a
  plateau that it is about to leave has half of the run to do so;
- oscillating: six epochs, and 100 steps, whose training losses alternate up and down by a third of
  the guessing loss or more, with no new best.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import is_reference
from optuna_study.config.reasons import Dead, Divergence, Exploding, NonFinite, Oscillating

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.config.settings import TrainConfig

CHUNK = 32
"""Steps between two looks at a run."""

EXPLODED = 10.0
CHUNKS_EXPLODED = 2
WHOLE_CHUNK = 8
"""Steps from which on a chunk, cut short by its epoch's end, counts as a whole one."""
AT_CHANCE = 0.99
"""A loss above this share of the guessing loss is no better than guessing."""
STANDARD_ERRORS = 3.0
RECALLED = 0.1
"""The share of the way from guessing's mean recall to all from which on classes are recognised."""
PATIENCE_LEAST, PATIENCE_MOST = 3, 20
PATIENCE_COLLAPSED = 3
PATIENCE_STEPS = 100
PATIENCE_STEPS_MOST = 500
SWINGS = 6
SWING = 1 / 3


@dataclass(frozen=True)
class Figures:
    """What a run reached in one epoch, over so many pictures."""

    loss: float
    accuracy: float
    pictures: int
    balanced_accuracy: float = math.nan  # the mean recall of the classes; NaN where not known
    log_loss: float = math.nan


@dataclass(frozen=True)
class Guessing:
    """What a model reaches that answers the same for every picture."""

    loss: float
    accuracy: float
    classes: int = 0  # 0 where not known, as the log loss is then
    log_loss: float = math.nan

    def recognises(self, figures: Figures) -> bool:
        """Whether log loss or the mean recall of the classes shows more than guessing."""
        if not self.classes:
            return False
        guessed = 1 / self.classes
        recalled = figures.balanced_accuracy > guessed + RECALLED * (1 - guessed)
        return recalled or figures.log_loss < AT_CHANCE * self.log_loss

    def no_better(self, figures: Figures) -> bool:
        """Whether the figures could come from guessing."""
        error = math.sqrt(self.accuracy * (1 - self.accuracy) / figures.pictures)
        limit = self.accuracy + STANDARD_ERRORS * error
        return figures.loss > AT_CHANCE * self.loss and figures.accuracy < limit


@dataclass(frozen=True)
class Limits:
    """What the watch holds a run against.

    The losses of an own objective have an unknown scale: accuracies alone show chance level,
    and swings are not looked for.
    """

    guessing: Guessing
    epochs: int
    steps_per_epoch: int
    warmup_epochs: float = 0.0
    own_objective: bool = False

    def at_chance(self, figures: Figures) -> bool:
        """Whether an epoch's figures could come from guessing."""
        loss = math.inf if self.own_objective else figures.loss
        return self.guessing.no_better(dataclasses.replace(figures, loss=loss))

    @property
    def swings(self) -> int:
        """Changes up and down in a row that count as oscillating."""
        return max(SWINGS, math.ceil(PATIENCE_STEPS / self.steps_per_epoch))

    def patience(self, *, learned: bool) -> int:
        """Epochs at chance level before a run counts as dead; fewer when it had learned before."""
        half = math.ceil(self.epochs / 2)
        # Epochs may be of one step: then 20 of them are no time at all.
        most = max(PATIENCE_MOST, math.ceil(PATIENCE_STEPS_MOST / self.steps_per_epoch))
        whole = max(PATIENCE_LEAST, min(half, most))
        wanted = min(whole, PATIENCE_COLLAPSED) if learned else whole
        return max(wanted, math.ceil(PATIENCE_STEPS / self.steps_per_epoch))


def limits(config: TrainConfig, counts: Sequence[int], steps_per_epoch: int) -> Limits:
    """What guessing gives on training pictures, `counts` of each class, and how long a run is."""
    settings = config.train
    return Limits(
        Guessing(
            loss=chance_loss(settings.loss, counts),
            accuracy=max(counts) / sum(counts),
            classes=sum(count > 0 for count in counts),
            log_loss=chance_loss("cross_entropy", counts),
        ),
        epochs=settings.epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=settings.warmup_epochs,
        own_objective=is_reference(settings.objective),
    )


@dataclass
class Watch:
    """What has been seen of a run so far; `state` and `restore` carry it through a checkpoint."""

    limits: Limits
    start_level: float | None = None
    last_loss: float | None = None
    chunks_exploded: float = 0.0
    epochs_at_chance: int = 0
    learned: bool = False
    losses: list[float] = field(default_factory=list)
    best_loss: float = math.inf

    def steps(
        self, epoch: int, step: int, lr: float, losses: Sequence[float], norms: Sequence[float]
    ) -> Divergence | None:
        """Look at a chunk of steps, whose first is number `step` of the run, counted from 1."""
        for offset, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                return self._non_finite(epoch, step + offset, lr, loss, norm)
            self.last_loss = loss
            if self.start_level is None:
                self.start_level = max(loss, self.limits.guessing.loss)
        return self._exploding(epoch, step, lr, losses)

    def epoch(
        self, epoch: int, step: int, train: Figures, validation: Figures
    ) -> Divergence | None:
        """Look at the figures of a whole epoch; `step` is its last."""
        dead = self._dead(epoch, step, train, validation)
        return dead or self._oscillating(epoch, step, train.loss)

    def state(self) -> dict[str, Any]:
        """Everything seen, in plain values."""
        seen = {name: getattr(self, name) for name in _SEEN}
        return {**seen, "losses": list(self.losses)}

    def restore(self, state: Mapping[str, Any]) -> Watch:
        """A watch with the same limits that has seen what `state` tells."""
        return dataclasses.replace(self, **{**state, "losses": list(state["losses"])})

    def _non_finite(
        self, epoch: int, step: int, lr: float, loss: float, norm: float
    ) -> Divergence:
        what, value = ("loss", loss) if not math.isfinite(loss) else ("gradient norm", norm)
        return NonFinite(what, value, epoch, step, lr, self.last_loss)

    def _exploding(
        self, epoch: int, step: int, lr: float, losses: Sequence[float]
    ) -> Divergence | None:
        if not losses or self.start_level is None:
            return None
        mean = math.fsum(losses) / len(losses)
        # An epoch may have fewer steps than a chunk: full-batch descent has one.
        exploded = mean > EXPLODED * self.start_level
        share = min(1.0, len(losses) / WHOLE_CHUNK)
        self.chunks_exploded = self.chunks_exploded + share if exploded else 0.0
        if self.chunks_exploded < CHUNKS_EXPLODED:
            return None
        return Exploding(mean, self.start_level, epoch, step + len(losses) - 1, lr)

    def _dead(
        self, epoch: int, step: int, train: Figures, validation: Figures
    ) -> Divergence | None:
        guessing = self.limits.guessing
        if not (self.limits.at_chance(train) and self.limits.at_chance(validation)):
            self.learned, self.epochs_at_chance = True, 0
            return None
        if guessing.recognises(validation):
            self.epochs_at_chance = 0
            return None
        if epoch <= self.limits.warmup_epochs:
            return None
        self.epochs_at_chance += 1
        if self.epochs_at_chance < self.limits.patience(learned=self.learned):
            return None
        return Dead(
            epochs=self.epochs_at_chance,
            learned=self.learned,
            train_loss=train.loss,
            train_accuracy=train.accuracy,
            validation_accuracy=validation.accuracy,
            # An own objective's loss is of another scale than guessing's.
            guessing_loss=None if self.limits.own_objective else guessing.loss,
            guessing_accuracy=guessing.accuracy,
            epoch=epoch,
            step=step,
        )

    def _oscillating(self, epoch: int, step: int, loss: float) -> Divergence | None:
        improved, self.best_loss = loss < self.best_loss, min(loss, self.best_loss)
        # An epoch with a new best starts the count again.
        self.losses = [loss] if improved else [*self.losses, loss][-self.limits.swings - 1 :]
        if len(self.losses) <= self.limits.swings or self.limits.own_objective:
            return None
        changes = [later - earlier for earlier, later in pairwise(self.losses)]
        least = min(map(abs, changes))
        alternating = all(one * other < 0 for one, other in pairwise(changes))
        if not alternating or least < SWING * self.limits.guessing.loss:
            return None
        return Oscillating(least, self.limits.swings, self.best_loss, loss, epoch, step)


_SEEN = tuple(entry.name for entry in dataclasses.fields(Watch) if entry.name != "limits")


def chance_loss(name: str, counts: Sequence[int]) -> float:
    """The least loss of a model that answers the same for every picture, from counts per class."""
    shares = _shares(counts)
    if name == "mse":
        return sum(share * (1 - share) for share in shares) / len(counts)
    if name == "bce":
        return sum(map(_binary_entropy, shares)) / len(counts)
    return -sum(share * math.log(share) for share in shares if share)


def bias_gradient(
    name: str, counts: Sequence[int], batch_size: int, loss: float, *, sigmoid: bool = True
) -> float:
    """The L2 norm of the gradient that such a model's output biases have at a loss, at the most.

    On average over batches. A loss above that of chance tells how far the answers are from the
    class frequencies, which draw the biases there; what is left at chance is the noise of the
    frequencies from batch to batch. More than both means that the weights have a gradient, too.
    Without `sigmoid`, mse is that of an activation, whose slope is taken as one.

    >>> round(bias_gradient("cross_entropy", [9] * 5, 8, loss=1.609), 3)
    0.316
    >>> round(bias_gradient("mse", [9] * 5, 8, loss=0.25), 3)
    0.074
    """
    shares = _shares(counts)
    distance = _distance(name, max(0.0, loss - chance_loss(name, counts)), len(counts))
    squares = [distance + share * (1 - share) / batch_size for share in shares]
    if name == "mse" and sigmoid:
        slopes = [_slope(share, math.sqrt(distance)) for share in shares]
        squares = [square * slope**2 for square, slope in zip(squares, slopes, strict=True)]
    scale = {"cross_entropy": 1.0, "mse": 2 / len(counts), "bce": 1 / len(counts)}[name]
    return scale * math.sqrt(sum(squares))


def _distance(name: str, excess: float, classes: int) -> float:
    """The mean squared distance of answers from class frequencies, from the loss above chance.

    Of mse it is that loss; of the others it is half of that divergence at most (Pinsker).
    """
    if name == "mse":
        return excess
    if name == "bce":
        return min(1.0, excess / 2)
    return min(2.0, 2 * excess) / classes  # the softmax's answers share one divergence


def _slope(share: float, distance: float) -> float:
    """The sigmoid's steepest slope among the answers up to a distance from a class's share."""
    steepest = share + max(-distance, min(distance, 0.5 - share))
    return steepest * (1 - steepest)


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts]


def _binary_entropy(share: float) -> float:
    return -sum(part * math.log(part) for part in (share, 1 - share) if part > 0)
