"""One claimed trial: train, report, prune, checkpoint, end; every way out has its sentence.

The store, the training run, the files and the clock are given, so that all of this runs with
fakes.
"""

from __future__ import annotations

import gc
import logging
import math
import time
import traceback
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from optuna_study.config.reasons import AllEpochs, Failed, OutOfMemory, Pruned, TimedOut
from optuna_study.errors import (
    DiskFullError,
    FolderError,
    OptunaStudyError,
    StaleClaimError,
    StoreError,
)
from optuna_study.search.stop_signal import Brake, Cause
from optuna_study.search.training_errors import is_gpu_lost, is_out_of_memory
from optuna_study.search.write_schedule import Pace
from optuna_study.store.records import End, EndKind, EpochRecord
from optuna_study.text import in_one_line, without_middle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna_study.config.settings import EpochResult
    from optuna_study.search.pruner import Decide

log = logging.getLogger(__name__)

MOST_OF_TRACEBACK = 20_000  # characters; some errors carry all of the data they are about


class Training(Protocol):
    """A training run as the objective sees it."""

    def epochs(self) -> Iterator[EpochResult]:
        """One result an epoch, until done, diverged or stopped."""

    def save(self) -> None:
        """Write the checkpoint of the last epoch.

        Raises:
            DiskFullError: no space left.
            FolderError: the folder cannot be written.
        """


class Ledger(Protocol):
    """A claimed trial in the store; every write raises StaleClaimError once the claim is lost."""

    def report(self, epochs: Sequence[EpochRecord]) -> bool:
        """Write epochs, one written before is replaced; False when they must be sent later."""

    def others_at(self, epoch: int) -> Sequence[float]:
        """The metric of the study's other trials at an epoch."""

    def checkpointed(self, epoch: int) -> None:
        """Note that a checkpoint of this epoch is on disk."""

    def give_back(self, reason: str) -> None:
        """Let another worker go on with the trial."""

    def end(self, end: End, epochs: Sequence[EpochRecord]) -> None:
        """End the trial, with its last epochs, in one transaction."""


@dataclass(frozen=True)
class Rules:
    """What a trial is judged by."""

    metric: str
    direction: str  # maximize or minimize
    epochs: int
    decide: Decide
    prunable: bool  # baselines are not: they are what the others must beat
    timeout: float | None = None  # seconds of training


@dataclass(frozen=True)
class Started:
    """A trial ready to train; `before` are the epochs up to the checkpoint it goes on from."""

    training: Training
    rules: Rules
    before: Sequence[EpochRecord] = ()


@dataclass(frozen=True)
class Tools:
    """What a trial needs beside the store."""

    start: Callable[[], Started]  # its configuration found, its model built
    publish: Callable[[Training, End, Sequence[EpochRecord]], None]  # artifacts, before the end
    clock: Callable[[], float] = time.monotonic


class Left(Enum):
    """How the worker left a trial."""

    ENDED = auto()
    GIVEN_BACK = auto()
    ABANDONED = auto()  # somebody else owns it


@dataclass(frozen=True)
class Outcome:
    """What became of a trial; `end` is there when it ended.

    `device_lost` says that this process can train no other.
    """

    left: Left
    end: End | None = None
    device_lost: bool = False


@dataclass
class _Course:
    """A trial under way."""

    ledger: Ledger
    tools: Tools
    brake: Brake
    pace: Pace
    started: Started | None = None
    records: list[EpochRecord] = field(default_factory=list)  # the whole curve
    unsent: list[EpochRecord] = field(default_factory=list)
    device_lost: bool = False

    @property
    def epoch(self) -> int:
        return self.records[-1].epoch if self.records else 0

    @property
    def value(self) -> float | None:
        return self.records[-1].value if self.records else None

    def flush(self) -> bool:
        """Send what was not sent yet; whether the store has it."""
        if self.unsent and self.ledger.report(self.unsent):
            self.unsent = []
        self.pace.reported()
        return not self.unsent


def run_trial(ledger: Ledger, tools: Tools, brake: Brake) -> Outcome:
    """Work on a claimed trial until it ends, goes back, or turns out to be somebody else's.

    Raises:
        StoreError: the store fails; the claim's lease then runs out.
    """
    course = _Course(ledger, tools, brake, Pace(tools.clock))
    try:
        end = _end_of(course)
        if end is None:
            return _stopped(course)
        _publish(course, end)
        ledger.end(end, course.unsent)
    except StaleClaimError as error:
        log.warning("left alone at epoch %d: %s", course.epoch, error)
        return Outcome(Left.ABANDONED)
    log.info("%s: %s", end.kind, end.reason)
    return Outcome(Left.ENDED, end, course.device_lost)


def _end_of(course: _Course) -> End | None:
    """Train; give the trial's end, or None when it was stopped from outside."""
    try:
        started = course.started = course.tools.start()
        course.records = list(started.before)
        return _train(course, started)
    except (StaleClaimError, StoreError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a configuration makes torch raise ends this trial alone
        trace = without_middle(traceback.format_exc(), MOST_OF_TRACEBACK)
        kind = EndKind.OUT_OF_MEMORY if is_out_of_memory(error) else EndKind.FAILED
        sentence = in_one_line(error)
        course.device_lost = kind is EndKind.FAILED and is_gpu_lost(error)
    # Out of the handler: the error no longer holds the frames that hold the tensors.
    course.started = None
    gc.collect()
    epoch = course.epoch + 1
    if kind is EndKind.OUT_OF_MEMORY:
        return End(kind, OutOfMemory(sentence, epoch), course.value)
    log.error("failed in epoch %d\n%s", epoch, trace)
    return End(kind, Failed(sentence, epoch), course.value, traceback=trace)


def _train(course: _Course, started: Started) -> End | None:
    rules = started.rules
    for result in started.training.epochs():
        end = _after_epoch(course, started, result)
        if end is not None:
            return end
    value = course.value
    if value is not None and course.epoch >= rules.epochs:
        return End(EndKind.COMPLETED, AllEpochs(rules.epochs, rules.metric, value), value)
    if course.brake.cause is Cause.TIMEOUT and rules.timeout is not None:
        return End(EndKind.PRUNED, TimedOut(rules.timeout), value)
    if course.brake.cause is None:
        raise RuntimeError(f"training stopped after epoch {course.epoch} without a reason")
    return None


def _after_epoch(course: _Course, started: Started, result: EpochResult) -> End | None:
    """Everything that follows an epoch; its end if the trial has one now."""
    rules = started.rules
    record = recorded(result, rules.metric)
    if result.divergence is None or math.isfinite(record.value):
        course.records.append(record)
        course.unsent.append(record)
    if result.divergence is not None:
        return End(EndKind.DIVERGED, result.divergence, course.value)
    if record.epoch >= rules.epochs:
        return None
    end = _pruned(course, rules, record)
    if end is not None:
        return end
    if course.pace.checkpoint_due():
        _checkpoint(course, started.training)
    if course.pace.report_due():
        course.flush()
    return _overdue(course, rules.timeout)


def _pruned(course: _Course, rules: Rules, record: EpochRecord) -> End | None:
    if not rules.prunable:
        return None

    def others() -> Sequence[float]:
        course.flush()  # those that reach this rung just now want to see this trial, too
        return course.ledger.others_at(record.epoch)

    cut = rules.decide(record.epoch, record.value, others, rules.direction, rules.epochs)
    if cut is None:
        return None
    reason = Pruned(
        rule=cut.rule,
        metric=rules.metric,
        direction=rules.direction,
        epoch=record.epoch,
        value=record.value,
        against=cut.against,
        compared=cut.compared,
    )
    return End(EndKind.PRUNED, reason, record.value)


def _checkpoint(course: _Course, training: Training) -> None:
    """Write the reports, then the checkpoint that stands for them; a full disk costs only it.

    While the reports cannot be written the checkpoint before stays: it is the one to go on from.
    """
    if not course.flush():
        return
    began = course.tools.clock()
    try:
        training.save()
    except (DiskFullError, FolderError) as error:
        log.warning("no checkpoint after epoch %d: %s", course.epoch, error)
    else:
        course.ledger.checkpointed(course.epoch)
    course.pace.saved(began)


def _overdue(course: _Course, limit: float | None) -> End | None:
    worked = sum(record.seconds for record in course.records)
    if limit is None or worked <= limit:
        return None
    return End(EndKind.PRUNED, TimedOut(limit, worked, course.epoch), course.value)


def _stopped(course: _Course) -> Outcome:
    if course.brake.cause is Cause.STALE:
        raise StaleClaimError(course.brake.reason)
    course.flush()
    course.ledger.give_back(course.brake.reason)
    log.info("given back after epoch %d: %s", course.epoch, course.brake.reason)
    return Outcome(Left.GIVEN_BACK)


def _publish(course: _Course, end: End) -> None:
    if course.started is None:
        return
    try:
        course.tools.publish(course.started.training, end, course.records)
    except StaleClaimError:
        raise
    except OptunaStudyError as error:
        log.warning("no artifacts: %s", error)
    except Exception:
        log.exception("no artifacts")


def recorded(result: EpochResult, metric: str) -> EpochRecord:
    """An epoch's result as stored, with the study's metric as its value."""
    value: float = getattr(result, metric)
    return EpochRecord(
        epoch=result.epoch,
        value=value,
        train_loss=result.train_loss,
        train_accuracy=result.train_accuracy,
        validation_loss=result.validation_loss,
        validation_accuracy=result.validation_accuracy,
        lr=result.lr,
        gradient_norm=result.gradient_norm,
        seconds=result.seconds,
    )
