"""Records made up for tests, whatever they are not about left at a plain value."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from optuna_study.config.epoch import EpochResult
from optuna_study.store.queue import queue
from optuna_study.store.records import End, EndKind, StoredParameter, TrialRecord, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import Claim

RATE = '{"name": "FloatDistribution", "attributes": {"low": 0.0, "high": 1.0}}'


def make_result(epoch: int, accuracy: float = 0.5, **changes: object) -> EpochResult:
    result = EpochResult(
        epoch=epoch,
        train_loss=1.0 / epoch,
        train_accuracy=accuracy,
        validation_loss=2.0 / epoch,
        validation_accuracy=accuracy,
        lr=0.01,
        gradient_norm=1.0,
        seconds=10.0,
    )
    return dataclasses.replace(result, **changes)  # type: ignore[arg-type]


def make_trial(number: int = 0, **changes: object) -> TrialRecord:
    trial = TrialRecord(
        trial_id=number + 1,
        number=number,
        state=TrialState.COMPLETE,
        value=0.5,
        parameters={},
        fixed={},
        baseline=None,
        group=None,
        seed=1,
        end=EndKind.COMPLETED,
        reason="all 4 epochs",
        traceback=None,
        started=0.0,
        completed=60.0,
        worked=50.0,
        epochs=4,
        claims=1,
        strikes=0,
        owner=None,
        lease_until=None,
        checkpoint_epoch=0,
        checkpoint_claim=None,
        resumed_elsewhere=False,
    )
    return dataclasses.replace(trial, **changes)  # type: ignore[arg-type]


@pytest.fixture
def result() -> Callable[..., EpochResult]:
    return make_result


@pytest.fixture
def trial() -> Callable[..., TrialRecord]:
    return make_trial


def finish(
    store: Store,
    claim: Claim,
    value: float,
    kind: EndKind = EndKind.COMPLETED,
    second: float | None = None,
) -> None:
    """End a claimed trial; one that is searched has drawn a rate, which its number tells."""
    if claim.searched:
        drawn = [StoredParameter("lr", claim.number / 100, RATE)]
        queue.write_parameters(store, claim, drawn, {})
    reached = value if kind is EndKind.COMPLETED else None
    queue.end(store, claim, End(kind, "because", reached, second_value=second))
