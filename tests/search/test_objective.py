from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
import torch

from optuna_study.config.reasons import (
    Dead,
    Divergence,
    Exploding,
    Failed,
    NonFinite,
    Oscillating,
    OutOfMemory,
    Reused,
    TimedOut,
)
from optuna_study.errors import DeviceLostError, StoreError
from optuna_study.search.objective import KnownEnd, Left
from optuna_study.search.pruner import decide
from optuna_study.search.stop_signal import StopReason
from optuna_study.store.records import End, EndKind, EpochRecord
from optuna_study.training.steps import kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_trials import FakeJob

    from optuna_study.config.epoch import EpochResult

    Result = Callable[..., EpochResult]

NON_FINITE = NonFinite("loss", math.inf, epoch=2, step=40, rate=0.1, before=1.5)
EXPLODING = Exploding(loss=40.0, start=2.0, epoch=2, step=40, rate=0.1)
DEAD = Dead(6, False, 1.61, 0.2, 0.2, 1.6, 0.2, epoch=2, step=40)
OSCILLATING = Oscillating(swing=0.5, epochs=6, best=0.9, loss=1.0, epoch=2, step=40)


def test_a_trial_reports_checkpoints_and_completes_with_its_last_value(
    job: FakeJob, result: Result
) -> None:
    training = job.training(*(result(epoch, epoch / 10) for epoch in range(1, 5)))
    left = job.run(training)
    assert left is Left.ENDED
    assert job.end.kind is EndKind.COMPLETED
    assert job.end.value == 0.4
    assert str(job.end.reason) == "all 4 epochs: validation_accuracy 0.4"
    assert sorted(job.store.epochs) == [1, 2, 3, 4]
    assert job.published == [job.end]


def test_a_trial_whose_settings_are_known_ends_as_they_did(job: FakeJob) -> None:
    curve = [EpochRecord(epoch, epoch / 10, *(0.5,) * 7) for epoch in (1, 2)]
    end = End(EndKind.PRUNED, Reused(3, "rungs: below"), 0.2)
    left = job.run(KnownEnd(end, curve))
    assert (left, job.end) == (Left.ENDED, end)
    assert list(job.store.epochs.values()) == curve
    assert job.store.log == ["end 1,2"]  # with its end, in one transaction
    assert job.published == []


def test_a_trial_that_keeps_its_best_epoch_ends_with_its_value(
    job: FakeJob, result: Result
) -> None:
    job.epochs = 9
    training = job.training(*(result(epoch, value) for epoch, value in enumerate((3, 5, 4, 2), 1)))
    training.keep, training.patience = max, 2
    job.run(training)
    assert (job.end.kind, job.end.value) == (EndKind.COMPLETED, 5)
    assert str(job.end.reason) == (
        "4 of 9 epochs, the last 2 no better: validation_accuracy 5 in epoch 2"
    )
    assert sorted(job.store.epochs) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("second", "value"),
    [(None, None), ("parameters", 1200.0), ("prediction_seconds", 0.25), ("log_loss", 0.5)],
)
def test_a_completed_trial_has_the_second_metric_of_the_epoch_it_keeps(
    job: FakeJob, result: Result, second: str | None, value: float | None
) -> None:
    job.rules, job.epochs = replace(job.rules, second=second), 3
    figures = ((0.1, 0.7), (0.3, 0.5), (0.2, 1.0))
    results = [result(e, value, log_loss=loss) for e, (value, loss) in enumerate(figures, 1)]
    training = job.training(*results)
    training.keep = max
    job.run(training)
    assert (job.end.kind, job.end.second_value) == (EndKind.COMPLETED, value)


def test_reports_come_before_the_checkpoint_that_stands_for_them(
    job: FakeJob, result: Result
) -> None:
    job.run(job.training(*(result(epoch) for epoch in range(1, 5))))
    # A checkpoint that costs nothing is made after every epoch but the last, which ends the trial.
    assert job.store.log == [
        *("report 1", "checkpointed 1", "report 2", "checkpointed 2"),
        *("report 3", "checkpointed 3", "end 4"),
    ]


def test_a_dear_checkpoint_is_made_as_often_as_five_per_cent_allow(
    job: FakeJob, result: Result
) -> None:
    job.epochs = 60
    training = job.training(*(result(epoch) for epoch in range(1, 61)))
    training.save_seconds = 10.0  # as long as an epoch: 20 epochs must lie between two
    job.run(training)
    assert training.saved == [1, 21, 41]


def test_short_epochs_are_reported_together(job: FakeJob, result: Result) -> None:
    job.epochs = 10
    training = job.training(*(result(epoch) for epoch in range(1, 11)))
    training.epoch_seconds, training.save_seconds = 0.3, 1.0
    job.run(training)
    reports = [line for line in job.store.log if line.startswith("report")]
    assert reports == ["report 1,2,3,4", "report 5,6,7,8"]
    assert job.store.log[-1] == "end 9,10"


@pytest.mark.parametrize("found", [NON_FINITE, EXPLODING, DEAD, OSCILLATING])
def test_a_divergence_ends_the_trial_with_what_showed_it(
    job: FakeJob, result: Result, found: Divergence
) -> None:
    broken = result(2, math.nan, train_loss=math.nan, divergence=found)
    job.run(job.training(result(1, 0.3), broken))
    ended = job.end
    assert (ended.kind, ended.reason) == (EndKind.DIVERGED, found)
    assert ended.value == 0.3
    assert ended.kind.infeasible
    assert sorted(job.store.epochs) == [1]  # an epoch without figures is no epoch


def test_a_whole_epoch_that_turns_out_dead_is_reported(job: FakeJob, result: Result) -> None:
    job.run(job.training(result(1, 0.2, divergence=DEAD)))
    assert sorted(job.store.epochs) == [1]
    assert job.end.value == 0.2


def test_a_bad_trial_is_pruned_with_the_figures_that_speak_against_it(
    job: FakeJob, result: Result
) -> None:
    job.epochs, job.rules = 12, replace(job.rules, decide=decide)
    job.store.others = {2: [0.5, 0.6, 0.7, 0.8, 0.9]}
    job.run(job.training(result(1, 0.3), result(2, 0.31), result(3, 0.9)))
    ended = job.end
    assert ended.kind is EndKind.PRUNED
    assert str(ended.reason) == (
        "rungs: validation_accuracy 0.31 at epoch 2, below 0.7, where the better half of 6 begins"
    )
    assert ended.value == 0.31
    assert job.published == [ended]


def test_a_baseline_is_never_pruned(job: FakeJob, result: Result) -> None:
    job.rules = replace(job.rules, decide=None)
    job.store.others = {2: [0.9] * 20}
    job.run(job.training(*(result(epoch, 0.1) for epoch in range(1, 5))))
    assert job.end.kind is EndKind.COMPLETED


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4000000000000 bytes."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    ],
)
def test_memory_that_is_not_there_ends_the_trial_and_not_the_worker(
    job: FakeJob, result: Result, error: Exception
) -> None:
    left = job.run(job.training(result(1, 0.3), error))
    assert left is Left.ENDED
    assert job.end.kind is EndKind.OUT_OF_MEMORY
    assert isinstance(job.end.reason, OutOfMemory)
    assert job.end.reason.epoch == 2
    assert job.end.kind.infeasible


def test_the_objective_needs_no_torch() -> None:
    code = "import sys, optuna_study.search.objective; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_any_other_error_fails_the_trial_with_its_traceback(job: FakeJob, result: Result) -> None:
    job.run(job.training(result(1), ValueError("shapes do not fit\nat all")))
    ended = job.end
    assert ended.kind is EndKind.FAILED
    assert ended.reason == Failed("ValueError: shapes do not fit", 2)
    assert "raise result" in job.traceback
    assert "shapes do not fit\nat all" in job.traceback
    assert job.published == []


def test_an_error_is_tried_again_as_often_as_is_asked(job: FakeJob, result: Result) -> None:
    """From the last checkpoint, and never where the GPU or its memory is what failed."""
    job.rules = replace(job.rules, retries=1)
    assert job.run(job.training(result(1), ValueError("a hiccup"))) is Left.REQUEUED
    assert job.store.ended is None
    assert job.store.requeued == "ValueError: a hiccup (in epoch 2)"
    assert job.store.log[-1] == "retry"
    assert job.published == []
    job.run(job.training(result(1), torch.OutOfMemoryError("CUDA out of memory")))
    assert job.end.kind is EndKind.OUT_OF_MEMORY


def test_of_a_long_traceback_both_ends_are_kept(
    job: FakeJob, result: Result, caplog: pytest.LogCaptureFixture
) -> None:
    job.run(job.training(result(1), ValueError("x" * 3_000_000 + " at last")))
    shown = job.traceback
    assert len(shown) < 21_000
    assert shown.startswith("Traceback (most recent call last):\n")
    assert re.search(r"x\n\.\.\. 2,98\d,\d{3} characters left out \.\.\.\nx", shown)
    assert shown.endswith("x at last\n")
    assert len(caplog.text) < 21_000


def test_an_error_that_costs_the_gpu_fails_the_trial_and_is_told(
    job: FakeJob, result: Result
) -> None:
    training = job.training(result(1), RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(DeviceLostError, match="trial 7 failed on cpu with an error that this"):
        job.run(training)
    assert job.end.kind is EndKind.FAILED
    assert str(job.end.reason).startswith("RuntimeError: CUDA error: device-side assert")
    assert job.cleaned_up


def test_a_failed_trial_lets_go_of_the_step_that_is_kept(
    job: FakeJob, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_kept", kept._Kept())
    kept.keep_steps()
    kept.put(cast("kept.Captured", object()))
    job.run(job.training(result(1), torch.OutOfMemoryError("CUDA out of memory")))
    assert not kept.release()


def test_a_gpu_without_memory_is_not_lost(job: FakeJob, result: Result) -> None:
    full = job.training(result(1), RuntimeError("CUDA error: out of memory"))
    assert job.run(full) is Left.ENDED
    assert job.end.kind is EndKind.OUT_OF_MEMORY


def test_a_trial_that_cannot_even_start_fails(job: FakeJob) -> None:
    job.start_error = KeyError("lr")
    job.run(job.training())
    assert job.end.kind is EndKind.FAILED
    assert job.end.reason == Failed("KeyError: 'lr'", 1)


def test_a_store_that_fails_is_not_the_trials_fault(job: FakeJob) -> None:
    job.start_error = StoreError("sqlite: is damaged")
    with pytest.raises(StoreError):
        job.run(job.training())
    assert job.store.log == []


def test_a_worker_that_leaves_gives_the_trial_back_with_its_epochs(
    job: FakeJob, result: Result
) -> None:
    training = job.training(*(result(epoch) for epoch in range(1, 5)))
    training.stop_in_epoch(3, StopReason.LEAVING, "stopped by SIGTERM")
    training.save_seconds = 100.0
    training.epoch_seconds = 0.1
    assert job.run(training) is Left.REQUEUED
    assert job.store.requeued == "stopped by SIGTERM"
    assert sorted(job.store.epochs) == [1, 2]
    assert job.store.ended is None
    assert job.published == []


def test_a_stop_after_the_last_epoch_still_completes(job: FakeJob, result: Result) -> None:
    job.epochs = 1
    job.leaves_in_publish = True
    assert job.run(job.training(result(1))) is Left.ENDED
    assert job.end.kind is EndKind.COMPLETED


@pytest.mark.parametrize("writes", range(5))
def test_a_trial_that_is_somebody_elses_is_left_alone(
    job: FakeJob, result: Result, writes: int
) -> None:
    job.store.stale_after = writes
    left = job.run(job.training(*(result(epoch) for epoch in range(1, 5))))
    assert left is Left.ABANDONED
    assert job.store.ended is None
    assert len(job.store.log) == writes


def test_a_lost_lease_leaves_it_alone_without_another_write(job: FakeJob, result: Result) -> None:
    training = job.training(*(result(epoch) for epoch in range(1, 5)))
    training.stop_in_epoch(2, StopReason.STALE, "trial 7 is no longer this worker's")
    assert job.run(training) is Left.ABANDONED
    assert job.store.log == ["report 1", "checkpointed 1"]


def test_a_full_disk_costs_the_checkpoint_only(
    job: FakeJob, result: Result, disk_full: Exception
) -> None:
    training = job.training(*(result(epoch) for epoch in range(1, 5)))
    training.save_error = disk_full
    job.run(training)
    assert job.end.kind is EndKind.COMPLETED
    assert not any(line.startswith("checkpointed") for line in job.store.log)


def test_pictures_that_cannot_be_drawn_cost_no_trial(job: FakeJob, result: Result) -> None:
    job.publish_error = ValueError("no font")
    job.epochs = 1
    job.run(job.training(result(1)))
    assert job.end.kind is EndKind.COMPLETED


def test_training_beyond_the_trials_time_ends_it(job: FakeJob, result: Result) -> None:
    job.rules = replace(job.rules, timeout=25.0)
    job.run(job.training(*(result(epoch) for epoch in range(1, 5))))
    assert job.end.kind is EndKind.PRUNED
    assert job.end.reason == TimedOut(25.0, worked=30.0, epoch=3)


def test_an_epoch_without_end_is_stopped_by_the_clock(job: FakeJob, result: Result) -> None:
    job.rules = replace(job.rules, timeout=25.0)
    training = job.training(result(1), result(2))
    training.stop_in_epoch(2, StopReason.TIMEOUT, "25 s of training were allowed")
    job.run(training)
    assert job.end.reason == TimedOut(25.0)


def test_a_returned_trial_goes_on_and_counts_its_earlier_epochs(
    job: FakeJob, result: Result
) -> None:
    first = job.training(result(1, 0.1), result(2, 0.2), result(3, 0.3))
    first.stop_in_epoch(3, StopReason.LEAVING, "stopped")
    job.run(first)
    again = type(job)()
    again.rules = replace(again.rules, timeout=35.0)
    training = again.training(result(3, 0.3), result(4, 0.4))
    training.before = [job.store.epochs[1], job.store.epochs[2]]
    again.run(training)
    assert again.end.kind is EndKind.COMPLETED
    assert sorted(again.store.epochs) == [3, 4]


def test_training_that_stops_for_no_reason_is_a_failure(job: FakeJob, result: Result) -> None:
    job.run(job.training(result(1)))
    assert job.end.kind is EndKind.FAILED
    assert isinstance(job.end.reason, Failed)
    assert "without a reason" in job.end.reason.error
