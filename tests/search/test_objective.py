from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
    TimedOut,
)
from optuna_study.errors import StoreError
from optuna_study.search.objective import Left
from optuna_study.search.pruner import decide
from optuna_study.search.stop_signal import Cause
from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import EpochResult

    Result = Callable[..., EpochResult]

NON_FINITE = NonFinite("loss", math.inf, epoch=2, step=40, rate=0.1, before=1.5)
EXPLODING = Exploding(loss=40.0, start=2.0, epoch=2, step=40, rate=0.1)
DEAD = Dead(6, False, 1.61, 0.2, 0.2, 1.6, 0.2, epoch=2, step=40)
OSCILLATING = Oscillating(swing=0.5, epochs=6, best=0.9, loss=1.0, epoch=2, step=40)


def test_a_trial_reports_checkpoints_and_completes_with_its_last_value(
    bench: Any, result: Result
) -> None:
    training = bench.training(*(result(epoch, epoch / 10) for epoch in range(1, 5)))
    outcome = bench.run(training)
    assert outcome.left is Left.ENDED
    assert bench.ledger.ended.kind is EndKind.COMPLETED
    assert bench.ledger.ended.value == 0.4
    assert str(bench.ledger.ended.reason) == "all 4 epochs: validation_accuracy 0.4"
    assert sorted(bench.ledger.epochs) == [1, 2, 3, 4]
    assert bench.published == [bench.ledger.ended]


def test_reports_come_before_the_checkpoint_that_stands_for_them(
    bench: Any, result: Result
) -> None:
    bench.run(bench.training(*(result(epoch) for epoch in range(1, 5))))
    # A checkpoint that costs nothing is made after every epoch but the last, which ends the trial.
    assert bench.ledger.log == [
        *("report 1", "checkpointed 1", "report 2", "checkpointed 2"),
        *("report 3", "checkpointed 3", "end 4"),
    ]


def test_a_dear_checkpoint_is_made_as_often_as_five_per_cent_allow(
    bench: Any, result: Result
) -> None:
    bench.rules = replace(bench.rules, epochs=60)
    training = bench.training(*(result(epoch) for epoch in range(1, 61)))
    training.save_seconds = 10.0  # as long as an epoch: 20 epochs must lie between two
    bench.run(training)
    assert training.saved == [1, 21, 41]


def test_short_epochs_are_reported_together(bench: Any, result: Result) -> None:
    bench.rules = replace(bench.rules, epochs=10)
    training = bench.training(*(result(epoch) for epoch in range(1, 11)))
    training.epoch_seconds, training.save_seconds = 0.3, 1.0
    bench.run(training)
    reports = [line for line in bench.ledger.log if line.startswith("report")]
    assert reports == ["report 1", "report 2,3,4,5", "report 6,7,8,9"]
    assert bench.ledger.log[-1] == "end 10"


@pytest.mark.parametrize("found", [NON_FINITE, EXPLODING, DEAD, OSCILLATING])
def test_a_divergence_ends_the_trial_with_what_showed_it(
    bench: Any, result: Result, found: Divergence
) -> None:
    broken = result(2, math.nan, train_loss=math.nan, divergence=found)
    bench.run(bench.training(result(1, 0.3), broken))
    ended = bench.ledger.ended
    assert (ended.kind, ended.reason) == (EndKind.DIVERGED, found)
    assert ended.value == 0.3
    assert ended.kind.infeasible
    assert sorted(bench.ledger.epochs) == [1]  # an epoch without figures is no epoch


def test_a_whole_epoch_that_turns_out_dead_is_reported(bench: Any, result: Result) -> None:
    bench.run(bench.training(result(1, 0.2, divergence=DEAD)))
    assert sorted(bench.ledger.epochs) == [1]
    assert bench.ledger.ended.value == 0.2


def test_a_bad_trial_is_pruned_with_the_figures_that_speak_against_it(
    bench: Any, result: Result
) -> None:
    bench.rules = replace(bench.rules, epochs=12, decide=decide)
    bench.ledger.others = {2: [0.5, 0.6, 0.7, 0.8, 0.9]}
    bench.run(bench.training(result(1, 0.3), result(2, 0.31), result(3, 0.9)))
    ended = bench.ledger.ended
    assert ended.kind is EndKind.PRUNED
    assert str(ended.reason) == (
        "rungs: validation_accuracy 0.31 at epoch 2, below 0.7, where the better half of 6 begins"
    )
    assert ended.value == 0.31
    assert bench.published == [ended]


def test_a_baseline_is_never_pruned(bench: Any, result: Result) -> None:
    bench.rules = replace(bench.rules, decide=decide, prunable=False)
    bench.ledger.others = {2: [0.9] * 20}
    bench.run(bench.training(*(result(epoch, 0.1) for epoch in range(1, 5))))
    assert bench.ledger.ended.kind is EndKind.COMPLETED


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
    bench: Any, result: Result, error: Exception
) -> None:
    outcome = bench.run(bench.training(result(1, 0.3), error))
    assert outcome.left is Left.ENDED
    assert bench.ledger.ended.kind is EndKind.OUT_OF_MEMORY
    assert isinstance(bench.ledger.ended.reason, OutOfMemory)
    assert bench.ledger.ended.reason.epoch == 2
    assert bench.ledger.ended.kind.infeasible


def test_the_objective_needs_no_torch() -> None:
    code = "import sys, optuna_study.search.objective; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_any_other_error_fails_the_trial_with_its_traceback(bench: Any, result: Result) -> None:
    bench.run(bench.training(result(1), ValueError("shapes do not fit\nat all")))
    ended = bench.ledger.ended
    assert ended.kind is EndKind.FAILED
    assert ended.reason == Failed("ValueError: shapes do not fit", 2)
    assert "raise each" in ended.traceback
    assert "shapes do not fit\nat all" in ended.traceback
    assert bench.published == []


def test_of_a_long_traceback_both_ends_are_kept(
    bench: Any, result: Result, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(bench.training(result(1), ValueError("x" * 3_000_000 + " at last")))
    kept = bench.ledger.ended.traceback
    assert len(kept) < 21_000
    assert kept.startswith("Traceback (most recent call last):\n")
    assert re.search(r"x\n\.\.\. 2,98\d,\d{3} characters left out \.\.\.\nx", kept)
    assert kept.endswith("x at last\n")
    assert len(caplog.text) < 21_000


def test_an_error_that_costs_the_gpu_fails_the_trial_and_is_told(
    bench: Any, result: Result
) -> None:
    training = bench.training(result(1), RuntimeError("CUDA error: device-side assert triggered"))
    outcome = bench.run(training)
    assert bench.ledger.ended.kind is EndKind.FAILED
    assert str(bench.ledger.ended.reason).startswith(
        "RuntimeError: CUDA error: device-side assert"
    )
    assert outcome.device_lost


def test_a_gpu_without_memory_is_not_lost(bench: Any, result: Result) -> None:
    full = bench.training(result(1), RuntimeError("CUDA error: out of memory"))
    assert not bench.run(full).device_lost
    assert bench.ledger.ended.kind is EndKind.OUT_OF_MEMORY


def test_a_trial_that_cannot_even_start_fails(bench: Any) -> None:
    bench.start_error = KeyError("lr")
    bench.run(bench.training())
    assert bench.ledger.ended.kind is EndKind.FAILED
    assert bench.ledger.ended.reason == Failed("KeyError: 'lr'", 1)


def test_a_store_that_fails_is_not_the_trials_fault(bench: Any) -> None:
    bench.start_error = StoreError("sqlite: is damaged")
    with pytest.raises(StoreError):
        bench.run(bench.training())
    assert bench.ledger.log == []


def test_a_worker_that_leaves_gives_the_trial_back_with_its_epochs(
    bench: Any, result: Result
) -> None:
    training = bench.training(*(result(epoch) for epoch in range(1, 5)))
    training.stop_in_epoch = 3
    training.stop = lambda: bench.brake.pull(Cause.LEAVING, "stopped by SIGTERM")
    training.save_seconds = 100.0
    training.epoch_seconds = 0.1
    assert bench.run(training).left is Left.GIVEN_BACK
    assert bench.ledger.given_back == "stopped by SIGTERM"
    assert sorted(bench.ledger.epochs) == [1, 2]
    assert bench.ledger.ended is None
    assert bench.published == []


def test_a_stop_after_the_last_epoch_still_completes(bench: Any, result: Result) -> None:
    bench.rules = replace(bench.rules, epochs=1)
    training = bench.training(result(1))
    bench.publish_error = None
    training.save = lambda: bench.brake.pull(Cause.LEAVING, "too late")
    assert bench.run(training).left is Left.ENDED


@pytest.mark.parametrize("writes", range(5))
def test_a_trial_that_is_somebody_elses_is_left_alone(
    bench: Any, result: Result, writes: int
) -> None:
    bench.ledger.stale_after = writes
    outcome = bench.run(bench.training(*(result(epoch) for epoch in range(1, 5))))
    assert outcome.left is Left.ABANDONED
    assert bench.ledger.ended is None
    assert len(bench.ledger.log) == writes


def test_a_lost_lease_leaves_it_alone_without_another_write(bench: Any, result: Result) -> None:
    training = bench.training(*(result(epoch) for epoch in range(1, 5)))
    training.stop_in_epoch = 2
    training.stop = lambda: bench.brake.pull(Cause.STALE, "trial 7 is no longer this worker's")
    assert bench.run(training).left is Left.ABANDONED
    assert bench.ledger.log == ["report 1", "checkpointed 1"]


def test_a_full_disk_costs_the_checkpoint_only(
    bench: Any, result: Result, disk_full: Exception
) -> None:
    training = bench.training(*(result(epoch) for epoch in range(1, 5)))
    training.save_error = disk_full
    bench.run(training)
    assert bench.ledger.ended.kind is EndKind.COMPLETED
    assert not any(line.startswith("checkpointed") for line in bench.ledger.log)


def test_pictures_that_cannot_be_drawn_cost_no_trial(bench: Any, result: Result) -> None:
    bench.publish_error = ValueError("no font")
    bench.rules = replace(bench.rules, epochs=1)
    bench.run(bench.training(result(1)))
    assert bench.ledger.ended.kind is EndKind.COMPLETED


def test_training_beyond_the_trials_time_ends_it(bench: Any, result: Result) -> None:
    bench.rules = replace(bench.rules, timeout=25.0)
    bench.run(bench.training(*(result(epoch) for epoch in range(1, 5))))
    assert bench.ledger.ended.kind is EndKind.PRUNED
    assert bench.ledger.ended.reason == TimedOut(25.0, worked=30.0, epoch=3)


def test_an_epoch_without_end_is_stopped_by_the_clock(bench: Any, result: Result) -> None:
    bench.rules = replace(bench.rules, timeout=25.0)
    training = bench.training(result(1), result(2))
    training.stop_in_epoch = 2
    training.stop = lambda: bench.brake.pull(Cause.TIMEOUT, "25 s of training were allowed")
    bench.run(training)
    assert bench.ledger.ended.reason == TimedOut(25.0)


def test_a_returned_trial_goes_on_and_counts_its_earlier_epochs(
    bench: Any, result: Result
) -> None:
    first = bench.training(result(1, 0.1), result(2, 0.2), result(3, 0.3))
    first.stop_in_epoch = 3
    first.stop = lambda: bench.brake.pull(Cause.LEAVING, "stopped")
    bench.run(first)
    before = [bench.ledger.epochs[1], bench.ledger.epochs[2]]
    again = type(bench)()
    again.rules = replace(again.rules, timeout=35.0)
    again.run(again.training(result(3, 0.3), result(4, 0.4)), before)
    assert again.ledger.ended.kind is EndKind.COMPLETED
    assert sorted(again.ledger.epochs) == [3, 4]


def test_training_that_stops_for_no_reason_is_a_failure(bench: Any, result: Result) -> None:
    bench.run(bench.training(result(1)))
    assert bench.ledger.ended.kind is EndKind.FAILED
    assert "without a reason" in bench.ledger.ended.reason.error
