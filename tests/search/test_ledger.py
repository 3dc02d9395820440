"""A trial whose store is away for a while; the store and the training run are fakes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.config.reasons import TimedOut
from optuna_study.errors import UnreachableError
from optuna_study.search.objective import Left
from optuna_study.search.pruner import decide
from optuna_study.search.stop_signal import Cause
from optuna_study.store.engine.retry import LONGEST_PAUSE, MAX_WAIT
from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import EpochResult

    Result = Callable[..., EpochResult]


def test_training_goes_on_and_reports_are_sent_later(bench: Any, result: Result) -> None:
    bench.rules = replace(bench.rules, epochs=10)
    training = bench.training(*(result(epoch, epoch / 10) for epoch in range(1, 11)))
    bench.ledger.away = (25.0, 65.0)
    assert bench.run(training).left is Left.ENDED
    assert bench.clock.now == 100.0  # ten epochs of ten seconds: nobody waited
    assert bench.ledger.log[:4] == ["report 1", "checkpointed 1", "report 2", "checkpointed 2"]
    assert "report 3,4,5,6,7" in bench.ledger.log
    assert sorted(bench.ledger.epochs) == list(range(1, 11))
    assert [each.value for each in bench.ledger.epochs.values()] == [n / 10 for n in range(1, 11)]


def test_no_checkpoint_stands_for_epochs_that_were_not_reported(
    bench: Any, result: Result
) -> None:
    bench.rules = replace(bench.rules, epochs=6)
    training = bench.training(*(result(epoch) for epoch in range(1, 7)))
    bench.ledger.away = (15.0, 45.0)
    bench.run(training)
    assert training.saved == [1, 5]  # the last epoch ends the trial and needs none
    assert "checkpointed 5" in bench.ledger.log


def test_a_checkpoint_that_could_not_be_noted_is_noted_with_the_next_report(
    bench: Any, result: Result
) -> None:
    training = bench.training(*(result(epoch) for epoch in range(1, 5)))
    training.save_seconds = 2.0
    bench.ledger.away = (11.0, 15.0)  # it goes while the checkpoint of the first epoch is written
    bench.run(training)
    assert training.saved == [1]
    assert bench.ledger.log[:3] == ["report 1", "report 2", "checkpointed 1"]


def test_a_store_that_stays_away_is_not_asked_at_every_epoch(bench: Any, result: Result) -> None:
    bench.rules = replace(bench.rules, epochs=400)
    training = bench.training(*(result(epoch) for epoch in range(1, 401)))
    training.epoch_seconds = 0.1
    bench.ledger.away = (0.05, 39.0)
    bench.run(training)
    assert 4 <= bench.ledger.refused <= 15
    assert sorted(bench.ledger.epochs) == list(range(1, 401))


def test_a_decision_that_cannot_see_the_others_is_not_made(bench: Any, result: Result) -> None:
    bench.rules = replace(bench.rules, epochs=12, decide=decide)
    bench.ledger.others = {2: [0.9] * 5, 4: [0.9] * 5}
    bench.ledger.away = (15.0, 35.0)
    bench.run(bench.training(*(result(epoch, 0.3) for epoch in range(1, 13))))
    assert bench.ledger.ended.kind is EndKind.PRUNED
    assert bench.ledger.ended.reason.epoch == 4


def test_the_end_waits_until_the_store_is_back(bench: Any, result: Result) -> None:
    bench.ledger.away = (35.0, 300.0)
    outcome = bench.run(bench.training(*(result(epoch) for epoch in range(1, 5))))
    assert outcome.left is Left.ENDED
    assert bench.ledger.log[-1] == "end 4"
    assert 300 <= bench.clock.now <= 300 + LONGEST_PAUSE


def test_a_worker_loses_its_patience_at_last(bench: Any, result: Result) -> None:
    bench.ledger.away = (0.0, 10.0**9)
    with pytest.raises(UnreachableError):
        bench.run(bench.training(*(result(epoch) for epoch in range(1, 5))))
    assert MAX_WAIT <= bench.clock.now <= 40 + MAX_WAIT + LONGEST_PAUSE


@pytest.mark.parametrize("in_epoch", [3, 0])
def test_a_worker_told_to_leave_does_not_wait(bench: Any, result: Result, in_epoch: int) -> None:
    training = bench.training(*(result(epoch) for epoch in range(1, 5)))
    training.stop_in_epoch = in_epoch
    training.stop = lambda: bench.brake.pull(Cause.LEAVING, "stopped by SIGTERM")
    bench.ledger.away = (25.0, 10.0**9)
    if not in_epoch:  # told while it waits with the end
        bench.wait = lambda seconds: True
    with pytest.raises(UnreachableError):
        bench.run(training)
    assert bench.clock.now <= 40
    assert sorted(bench.ledger.epochs) == [1, 2]


def test_a_trial_whose_time_is_over_still_waits_to_be_ended(bench: Any, result: Result) -> None:
    training = bench.training(*(result(epoch) for epoch in range(1, 5)))
    training.stop_in_epoch = 3
    bench.rules = replace(bench.rules, timeout=25.0)
    training.stop = lambda: bench.brake.pull(Cause.TIMEOUT, "25 s of training were allowed")
    bench.ledger.away = (25.0, 100.0)
    assert bench.run(training).left is Left.ENDED
    assert bench.ledger.ended.reason == TimedOut(25.0)
