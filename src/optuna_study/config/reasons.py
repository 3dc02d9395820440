"""Why a training run or a trial ended: values, and the sentence that people read of each.

Epochs and steps count from 1; `rate` is the learning rate, losses are means over pictures,
accuracies fractions in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from optuna_study.text import percent

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reason:
    """Why a trial ended; as text it is the sentence for people."""

    kind: str


class DivergenceKind(StrEnum):
    """Why training was given up."""

    NON_FINITE = "non_finite"
    EXPLODING = "exploding"
    DEAD = "dead"
    OSCILLATING = "oscillating"


LOST = (DivergenceKind.NON_FINITE, DivergenceKind.EXPLODING)
"""Why runs are given up whose nets are worth nothing, whatever the epoch before measured."""


class Diverged(Reason):
    """A trial whose run will not recover."""

    kind: DivergenceKind

    @property
    def message(self) -> str:
        """The sentence, without the kind before it."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class Divergence(Diverged):
    """What showed that a run will not recover, and when."""

    epoch: int
    step: int


@dataclass(frozen=True)
class NonFinite(Divergence):
    """A loss or a gradient norm that is NaN or infinite; `before` is the loss a step earlier."""

    kind = DivergenceKind.NON_FINITE

    quantity: str  # "loss" or "gradient norm"
    value: float
    epoch: int
    step: int
    rate: float
    before: float | None

    @property
    def message(self) -> str:
        """The sentence, without the kind before it."""
        before = "at the first step" if self.before is None else f"after {self.before:.4g}"
        return (
            f"The {self.quantity} became {self.value} in epoch {self.epoch}, step {self.step}, "
            f"{before}, at learning rate {self.rate:g}."
        )


@dataclass(frozen=True)
class Exploding(Divergence):
    """A loss that grew far above `start`, its level at the start."""

    kind = DivergenceKind.EXPLODING

    loss: float
    start: float
    epoch: int
    step: int
    rate: float

    @property
    def message(self) -> str:
        """The sentence, without the kind before it."""
        return (
            f"The training loss grew to {self.loss:.4g} by step {self.step} of epoch "
            f"{self.epoch}, {self.loss / self.start:.0f} times its level at the start "
            f"({self.start:.4g}), at learning rate {self.rate:g}."
        )


@dataclass(frozen=True)
class Dead(Divergence):
    """So many epochs at chance level; `guessing_loss` is None where losses have no scale."""

    kind = DivergenceKind.DEAD

    epochs: int
    learned: bool  # before it fell back to chance level
    train_loss: float
    train_accuracy: float
    validation_accuracy: float
    guessing_loss: float | None
    guessing_accuracy: float
    epoch: int
    step: int

    @property
    def message(self) -> str:
        """The sentence, without the kind before it."""
        history = ", after it had learned something" if self.learned else ""
        level = "" if self.guessing_loss is None else f"{self.guessing_loss:.4f} and "
        return (
            f"At chance level for {self.epochs} epochs{history}: training loss "
            f"{self.train_loss:.4f} and accuracy {percent(self.train_accuracy)}, validation "
            f"{percent(self.validation_accuracy)} in epoch {self.epoch}, where guessing gives "
            f"{level}{percent(self.guessing_accuracy)}."
        )


@dataclass(frozen=True)
class Oscillating(Divergence):
    """Losses that went up and down by `swing` or more for so many epochs, with no new best."""

    kind = DivergenceKind.OSCILLATING

    swing: float
    epochs: int
    best: float
    loss: float
    epoch: int
    step: int

    @property
    def message(self) -> str:
        """The sentence, without the kind before it."""
        return (
            f"The training loss went up and down by {self.swing:.3g} or more in each of the last "
            f"{self.epochs} epochs without passing its best of {self.best:.4g}; it ended epoch "
            f"{self.epoch} at {self.loss:.4g}."
        )


@dataclass(frozen=True)
class EarlierDivergence(Diverged):
    """A divergence of which an earlier version stored the kind and a sentence."""

    kind: DivergenceKind
    sentence: str

    @property
    def message(self) -> str:
        """The sentence, without the kind before it."""
        return self.sentence


@dataclass(frozen=True)
class AllEpochs(Reason):
    """A trial that was trained as long as planned."""

    kind = "all_epochs"

    epochs: int
    metric: str
    value: float

    def __str__(self) -> str:
        return f"all {self.epochs} epochs: {self.metric} {self.value:.4g}"


@dataclass(frozen=True)
class BestEpoch(Reason):
    """A trial that ended with its best epoch: after all of them, or when no better one came."""

    kind = "best_epoch"

    epochs: int
    planned: int
    metric: str
    value: float
    best: int  # the best epoch's number

    def __str__(self) -> str:
        what = f"{self.metric} {self.value:.4g} in epoch {self.best}"
        if self.epochs == self.planned:
            return f"all {self.epochs} epochs: {what}"
        without = self.epochs - self.best
        return f"{self.epochs} of {self.planned} epochs, the last {without} no better: {what}"


@dataclass(frozen=True)
class Pruned(Reason):
    """A trial given up by a rule: its value, and the one that it had to reach, NaN if unknown."""

    kind = "pruned"

    rule: str
    metric: str
    direction: str  # maximize or minimize
    epoch: int
    value: float
    against: float
    compared: int  # trials, this one included

    def __str__(self) -> str:
        beyond = "below" if self.direction == "maximize" else "above"
        reached = f"{self.rule}: {self.metric} {self.value:.4g} at epoch {self.epoch}"
        if math.isnan(self.against):
            return f"{reached}, which {self.compared} trials have reached"
        half = f"where the better half of {self.compared} begins"
        return f"{reached}, {beyond} {self.against:.4g}, {half}"


@dataclass(frozen=True)
class Reused(Reason):
    """A trial that drew what an earlier one had tried, and was given that one's known end."""

    kind = "reused"

    trial: int  # the number of the one that was trained
    result: str  # the sentence of its end

    def __str__(self) -> str:
        return f"same settings as trial {self.trial}, not trained again; {self.result}"


@dataclass(frozen=True)
class TimedOut(Reason):
    """A trial whose seconds of training were used up; `worked` is None when within an epoch."""

    kind = "timed_out"

    limit: float
    worked: float | None = None
    epoch: int | None = None

    def __str__(self) -> str:
        if self.worked is None:
            return f"timeout: {self.limit:g} s of training were allowed"
        return (
            f"timeout: {self.worked:.0f} s of training after epoch {self.epoch}, "
            f"{self.limit:g} s allowed"
        )


@dataclass(frozen=True)
class OutOfMemory(Reason):
    """An allocation that failed."""

    kind = "out_of_memory"

    error: str  # in one line
    epoch: int

    def __str__(self) -> str:
        return f"out of memory in epoch {self.epoch}: {self.error}"


@dataclass(frozen=True)
class SystemOutOfMemory(Reason):
    """A worker that the kernel killed, since the system's memory was used up."""

    kind = "system_out_of_memory"

    worker: str

    def __str__(self) -> str:
        return (
            f"out of memory: the system's was used up, and its kernel killed worker {self.worker}"
        )


@dataclass(frozen=True)
class Failed(Reason):
    """An error that a configuration made training raise."""

    kind = "failed"

    error: str  # in one line
    epoch: int

    def __str__(self) -> str:
        return f"{self.error} (in epoch {self.epoch})"


@dataclass(frozen=True)
class WorkersLost(Reason):
    """So many workers in a row that died of the trial, as it seems."""

    kind = "workers_lost"

    workers: int
    last: str

    def __str__(self) -> str:
        return (
            f"{self.workers} workers in a row were lost before a new checkpoint, last {self.last}"
        )


STORED = (
    NonFinite,
    Exploding,
    Dead,
    Oscillating,
    AllEpochs,
    BestEpoch,
    Pruned,
    Reused,
    TimedOut,
    OutOfMemory,
    SystemOutOfMemory,
    Failed,
    WorkersLost,
)
"""What our tables hold beside the sentences of earlier versions."""


def to_plain(reason: Reason) -> dict[str, Any]:
    """A reason's kind and fields, ready for JSON."""
    assert isinstance(reason, STORED)
    return {"kind": reason.kind} | asdict(reason)


_FIELDS = {
    cls.kind: (cls, tuple((entry.name, entry.type == "float") for entry in fields(cls)))
    for cls in STORED
}


def from_plain(plain: Mapping[str, Any]) -> Reason | None:
    """The inverse of `to_plain`; None of a kind that only a later version knows."""
    cls, names = _FIELDS.get(plain["kind"], (None, ()))
    if cls is None:
        return None
    # A figure that is not finite is a word in JSON.
    values: dict[str, Any] = {
        name: float(plain[name]) if is_float else plain[name] for name, is_float in names
    }
    return cls(**values)
