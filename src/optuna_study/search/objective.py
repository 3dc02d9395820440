"""A trial's life: claim, propose, train, report, prune, checkpoint, publish, end.

Every way out has its sentence. The store, the training run, the files and the clock are given, so
that all of this runs with fakes.
"""

from __future__ import annotations

import gc
import logging
import math
import time
import traceback
from dataclasses import dataclass, field, fields, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

from optuna_study.config.epoch import COSTS
from optuna_study.config.reasons import AllEpochs, BestEpoch, Failed, OutOfMemory, Pruned, TimedOut
from optuna_study.config.training_errors import is_gpu_lost, is_out_of_memory
from optuna_study.errors import (
    DeviceLostError,
    DiskFullError,
    FolderError,
    OptunaStudyError,
    StaleClaimError,
    StoreError,
)
from optuna_study.search.stop_signal import StopReason, StopSignal
from optuna_study.search.write_schedule import WriteSchedule
from optuna_study.store.records import Artifact, End, EndKind, EpochRecord, NoTrialReason
from optuna_study.text import in_one_line, without_middle
from optuna_study.training.steps import kept as kept_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from optuna_study.config.epoch import EpochResult
    from optuna_study.search.pruner import Decide

log = logging.getLogger(__name__)

MOST_OF_TRACEBACK = 20_000  # characters; some errors carry all of the data they are about


class Training(Protocol):
    """A training run as a trial sees it."""

    @property
    def planned_epochs(self) -> int:
        """Epochs of a whole run."""

    @property
    def finished(self) -> bool:
        """Whether it has trained as long as it should."""

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights it ends with if it ends now, counted from 1."""

    def measure(self, cost: str) -> float:
        """What its model costs, one of `config.epoch.COSTS`, with the weights that it keeps."""

    @property
    def before(self) -> Sequence[EpochRecord]:
        """The epochs up to the checkpoint that it resumes from."""

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

    def note_checkpoint(self, epoch: int) -> None:
        """Note that a checkpoint of this epoch is on disk."""

    def requeue(self, reason: str, *, retried: bool = False) -> None:
        """Let another worker resume the trial; `retried` after an exception, which counts."""

    def end(self, end: End, epochs: Sequence[EpochRecord]) -> None:
        """End the trial, with its last epochs, in one transaction."""


@dataclass(frozen=True)
class Rules:
    """What a trial is judged by."""

    metric: str
    direction: str  # maximize or minimize
    decide: Decide | None  # None for what has no like: baselines, fine-tuning
    timeout: float | None = None  # seconds of training
    retries: int = 0  # times that an exception still does not end it
    second: str | None = None  # the second metric


@dataclass(frozen=True)
class KnownEnd:
    """What stands in place of training for settings that another trial had: its end and curve."""

    end: End
    epochs: Sequence[EpochRecord]


class Job(Protocol):
    """A claimed trial and all that a worker does with it."""

    @property
    def number(self) -> int:
        """The trial's."""

    @property
    def device(self) -> object:
        """What it trains on, for people."""

    @property
    def rules(self) -> Rules:
        """What it is judged by."""

    @property
    def ledger(self) -> Ledger:
        """Its records in the store."""

    def keep_lease(self) -> AbstractContextManager[None]:
        """Keep the claim while the block runs; losing it sets the worker's stop signal."""

    def propose(self) -> Training | KnownEnd:
        """Build its run, from its checkpoint if there is one; or the end of one just like it."""

    def publish(
        self, training: Training, end: End, epochs: Sequence[EpochRecord]
    ) -> Sequence[Artifact]:
        """Write its artifacts, before the end that names them."""

    def clean_up(self) -> None:
        """Bring files and notes up to date once it has ended."""


class Left(Enum):
    """How the worker left a trial."""

    ENDED = auto()
    REQUEUED = auto()
    ABANDONED = auto()  # somebody else owns it


def run_trial(
    claim: Callable[[], Job | NoTrialReason | None],
    stop: StopSignal,
    clock: Callable[[], float] = time.monotonic,
) -> Left | NoTrialReason | None:
    """Claim a trial and work on it until it ends, is requeued, or proves to be somebody else's.

    Returns how the worker left it, or what `claim` gave in place of a trial.

    Raises:
        StoreError: the store fails; the claim's lease then runs out.
        DeviceLostError: the trial ended, and this process can train no other.
    """
    job = claim()
    if job is None or isinstance(job, NoTrialReason):
        return job
    stop.begin_trial()
    trial = _Trial(job, stop, WriteSchedule(clock))
    try:
        with job.keep_lease():
            try:
                end = trial.train(job.propose())
            except (StaleClaimError, StoreError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever a configuration makes torch raise ends this trial alone
                end = trial.failed(error)
            if end is None:
                trial.requeue()
                return Left.REQUEUED
            end = replace(end, artifacts=tuple(trial.publish(end)))
            job.ledger.end(end, trial.unsent)
    except StaleClaimError as error:
        log.warning("left alone at epoch %d: %s", trial.epoch, error)
        return Left.ABANDONED
    log.info("%s: %s", end.kind, end.reason)
    job.clean_up()
    if trial.device_lost:
        raise DeviceLostError(
            f"trial {job.number} failed on {job.device} with an error that this process does "
            "not recover from; a fresh one takes its place"
        )
    return Left.ENDED


@dataclass
class _Trial:
    """A trial under way; what returns an End says that it is over."""

    job: Job
    stop: StopSignal
    schedule: WriteSchedule
    training: Training | None = None
    epochs: list[EpochRecord] = field(default_factory=list)  # the whole curve
    unsent: list[EpochRecord] = field(default_factory=list)
    device_lost: bool = False
    retried_after: str | None = None  # the error for which it is to be tried again

    def train(self, training: Training | KnownEnd) -> End | None:
        """Train to an end, unless it is known; None when others are to resume it."""
        if isinstance(training, KnownEnd):
            self.unsent = list(training.epochs)
            return training.end
        self.training = training
        self.epochs = list(training.before)
        for result in training.epochs():
            self.record(result)
            end = self.diverged(result) or self.completed() or self.prune()
            if end is None:
                self.checkpoint()
                self.report()
                end = self.overdue()
            if end is not None:
                return end
        return self.completed() or self.stopped()

    @property
    def epoch(self) -> int:
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def kept(self) -> EpochRecord | None:
        """The epoch that the trial ends with if it ends now; a broken one is none."""
        if not self.epochs:
            return None
        last = len(self.epochs)
        kept = last if self.training is None else min(self.training.kept_epoch, last)
        return self.epochs[kept - 1]

    @property
    def value(self) -> float | None:
        return None if self.kept is None else self.kept.value

    def record(self, result: EpochResult) -> None:
        """Append an epoch to the curve; a broken one without figures is none."""
        record = to_record(result, self.job.rules.metric)
        if result.divergence is None or math.isfinite(record.value):
            self.epochs.append(record)
            self.unsent.append(record)

    def diverged(self, result: EpochResult) -> End | None:
        if result.divergence is None:
            return None
        return End(EndKind.DIVERGED, result.divergence, self.value)

    def completed(self) -> End | None:
        assert self.training is not None
        planned, kept, metric = self.training.planned_epochs, self.kept, self.job.rules.metric
        if kept is None or not self.training.finished:
            return None
        reason: AllEpochs | BestEpoch = AllEpochs(planned, metric, kept.value)
        if kept.epoch < planned:
            reason = BestEpoch(self.epoch, planned, metric, kept.value, kept.epoch)
        return End(EndKind.COMPLETED, reason, kept.value, second_value=self.second(kept))

    def second(self, kept: EpochRecord) -> float | None:
        """The second metric, where there is one."""
        assert self.training is not None
        name = self.job.rules.second
        if name is None:
            return None
        value: float = self.training.measure(name) if name in COSTS else getattr(kept, name)
        return value

    def prune(self) -> End | None:
        """Compare with the other trials, where there is a rung."""
        assert self.training is not None
        rules, planned, last = self.job.rules, self.training.planned_epochs, self.epochs[-1]
        if rules.decide is None:
            return None

        def others() -> Sequence[float]:
            self.flush()  # those that reach this rung just now want to see this trial, too
            return self.job.ledger.others_at(last.epoch)

        cut = rules.decide(last.epoch, last.value, others, rules.direction, planned)
        if cut is None:
            return None
        reason = Pruned(
            rule=cut.rule,
            metric=rules.metric,
            direction=rules.direction,
            epoch=last.epoch,
            value=last.value,
            against=cut.against,
            compared=cut.compared,
        )
        return End(EndKind.PRUNED, reason, self.value)

    def checkpoint(self) -> None:
        """Write the reports, then the checkpoint that stands for them; a full disk costs only it.

        While the reports cannot be written the checkpoint before stays, to be resumed from.
        """
        assert self.training is not None
        if not self.schedule.checkpoint_due() or not self.flush():
            return
        began = self.schedule.clock()
        try:
            self.training.save()
        except (DiskFullError, FolderError) as error:
            log.warning("no checkpoint after epoch %d: %s", self.epoch, error)
        else:
            self.job.ledger.note_checkpoint(self.epoch)
        self.schedule.saved(began)

    def report(self) -> None:
        if self.schedule.report_due():
            self.flush()

    def flush(self) -> bool:
        """Send what was not sent yet; whether the store has it."""
        if self.unsent and self.job.ledger.report(self.unsent):
            self.unsent = []
        self.schedule.reported()
        return not self.unsent

    def overdue(self) -> End | None:
        limit, worked = self.job.rules.timeout, sum(record.seconds for record in self.epochs)
        if limit is None or worked <= limit:
            return None
        return End(EndKind.PRUNED, TimedOut(limit, worked, self.epoch), self.value)

    def stopped(self) -> End | None:
        """What a stop signal makes of it; None when others are to resume it."""
        limit = self.job.rules.timeout
        if self.stop.reason is StopReason.TIMEOUT and limit is not None:
            return End(EndKind.PRUNED, TimedOut(limit), self.value)
        if self.stop.reason is None:
            raise RuntimeError(f"training stopped after epoch {self.epoch} without a reason")
        return None

    def failed(self, error: Exception) -> End | None:
        """The end that an error makes; the run, and with it the memory it holds, is let go of.

        None when the trial is to be tried again first: some errors pass.
        """
        self.training = None
        kept_steps.release()
        epoch, sentence = self.epoch + 1, in_one_line(error)
        if is_out_of_memory(error):
            return End(EndKind.OUT_OF_MEMORY, OutOfMemory(sentence, epoch), self.value)
        self.device_lost = is_gpu_lost(error)
        trace = without_middle(traceback.format_exc(), MOST_OF_TRACEBACK)
        log.error("failed in epoch %d\n%s", epoch, trace)
        if self.job.rules.retries and not self.device_lost:
            self.retried_after = str(Failed(sentence, epoch))
            return None
        return End(EndKind.FAILED, Failed(sentence, epoch), self.value, traceback=trace)

    def requeue(self) -> None:
        """Let another worker resume the trial, unless one has it already."""
        if self.stop.reason is StopReason.STALE:
            raise StaleClaimError(self.stop.text)
        self.flush()
        why, retried = self.retried_after or self.stop.text, self.retried_after is not None
        self.job.ledger.requeue(why, retried=retried)
        log.info("requeued after epoch %d: %s", self.epoch, why)

    def publish(self, end: End) -> Sequence[Artifact]:
        """Write the artifacts; a trial ends without them rather than not at all."""
        if self.training is None:
            gc.collect()  # out of the handler no frame holds the tensors of a failed run any more
            return ()
        try:
            return self.job.publish(self.training, end, self.epochs)
        except StaleClaimError:
            raise
        except OptunaStudyError as error:
            log.warning("no artifacts: %s", error)
        except Exception:
            log.exception("no artifacts")
        return ()


def to_record(result: EpochResult, metric: str) -> EpochRecord:
    """An epoch's result as stored, with the study's metric as its value."""
    names = (entry.name for entry in fields(EpochRecord) if entry.name != "value")
    figures: dict[str, Any] = {name: getattr(result, name) for name in names}
    return EpochRecord(value=getattr(result, metric), **figures)
