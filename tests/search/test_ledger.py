"""A trial whose store is away for a while; the store and the training run are fakes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from optuna_study.config.reasons import Pruned, TimedOut
from optuna_study.errors import UnreachableError
from optuna_study.search.objective import Left
from optuna_study.search.pruner import decide
from optuna_study.search.stop_signal import StopReason
from optuna_study.store.engine.retry import LONGEST_PAUSE, MAX_WAIT
from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_trials import FakeJob

    from optuna_study.config.epoch import EpochResult

    Result = Callable[..., EpochResult]


def test_training_goes_on_and_reports_are_sent_later(job: FakeJob, result: Result) -> None:
    job.epochs = 10
    training = job.training(*(result(epoch, epoch / 10) for epoch in range(1, 11)))
    job.store.away = (25.0, 65.0)
    assert job.run(training) is Left.ENDED
    assert job.clock.now == 100.0  # ten epochs of ten seconds: nobody waited
    assert job.store.log[:4] == ["report 1", "checkpointed 1", "report 2", "checkpointed 2"]
    assert "report 3,4,5,6,7" in job.store.log
    assert sorted(job.store.epochs) == list(range(1, 11))
    assert [each.value for each in job.store.epochs.values()] == [n / 10 for n in range(1, 11)]


def test_no_checkpoint_stands_for_epochs_that_were_not_reported(
    job: FakeJob, result: Result
) -> None:
    job.epochs = 6
    training = job.training(*(result(epoch) for epoch in range(1, 7)))
    job.store.away = (15.0, 45.0)
    job.run(training)
    assert training.saved == [1, 5]  # the last epoch ends the trial and needs none
    assert "checkpointed 5" in job.store.log


def test_a_checkpoint_that_could_not_be_noted_is_noted_with_the_next_report(
    job: FakeJob, result: Result
) -> None:
    training = job.training(*(result(epoch) for epoch in range(1, 5)))
    training.save_seconds = 2.0
    job.store.away = (11.0, 15.0)  # it goes while the checkpoint of the first epoch is written
    job.run(training)
    assert training.saved == [1]
    assert job.store.log[:3] == ["report 1", "report 2", "checkpointed 1"]


def test_a_store_that_stays_away_is_not_asked_at_every_epoch(job: FakeJob, result: Result) -> None:
    job.epochs = 400
    training = job.training(*(result(epoch) for epoch in range(1, 401)))
    training.epoch_seconds = 0.1
    job.store.away = (0.05, 39.0)
    job.run(training)
    assert 4 <= job.store.refused <= 15
    assert sorted(job.store.epochs) == list(range(1, 401))


def test_a_decision_that_cannot_see_the_others_is_not_made(job: FakeJob, result: Result) -> None:
    job.epochs, job.rules = 12, replace(job.rules, decide=decide)
    job.store.others = {2: [0.9] * 5, 4: [0.9] * 5}
    job.store.away = (15.0, 35.0)
    job.run(job.training(*(result(epoch, 0.3) for epoch in range(1, 13))))
    assert job.end.kind is EndKind.PRUNED
    assert isinstance(job.end.reason, Pruned)
    assert job.end.reason.epoch == 4


def test_the_end_waits_until_the_store_is_back(job: FakeJob, result: Result) -> None:
    job.store.away = (35.0, 300.0)
    left = job.run(job.training(*(result(epoch) for epoch in range(1, 5))))
    assert left is Left.ENDED
    assert job.store.log[-1] == "end 4"
    assert 300 <= job.clock.now <= 300 + LONGEST_PAUSE


def test_a_worker_loses_its_patience_at_last(job: FakeJob, result: Result) -> None:
    job.store.away = (0.0, 10.0**9)
    with pytest.raises(UnreachableError):
        job.run(job.training(*(result(epoch) for epoch in range(1, 5))))
    assert MAX_WAIT <= job.clock.now <= 40 + MAX_WAIT + LONGEST_PAUSE


@pytest.mark.parametrize("in_epoch", [3, 0])
def test_a_worker_told_to_leave_does_not_wait(job: FakeJob, result: Result, in_epoch: int) -> None:
    training = job.training(*(result(epoch) for epoch in range(1, 5)))
    training.stop_in_epoch(in_epoch, StopReason.LEAVING, "stopped by SIGTERM")
    job.store.away = (25.0, 10.0**9)
    if not in_epoch:  # told while it waits with the end
        job.leaves_in_wait = True
    with pytest.raises(UnreachableError):
        job.run(training)
    assert job.clock.now <= 40
    assert sorted(job.store.epochs) == [1, 2]


def test_a_trial_whose_time_is_over_still_waits_to_be_ended(job: FakeJob, result: Result) -> None:
    training = job.training(*(result(epoch) for epoch in range(1, 5)))
    training.stop_in_epoch(3, StopReason.TIMEOUT, "25 s of training were allowed")
    job.rules = replace(job.rules, timeout=25.0)
    job.store.away = (25.0, 100.0)
    assert job.run(training) is Left.ENDED
    assert job.end.reason == TimedOut(25.0)
