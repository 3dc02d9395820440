"""Sentences are literals: people know them, and earlier trials hold the same ones."""

from __future__ import annotations

import json
import math

import pytest

from optuna_study.config import reasons
from optuna_study.config.reasons import (
    AllEpochs,
    BestEpoch,
    Dead,
    DivergenceKind,
    EarlierDivergence,
    Exploding,
    Failed,
    NonFinite,
    Oscillating,
    OutOfMemory,
    Pruned,
    Reason,
    Reused,
    SystemOutOfMemory,
    TimedOut,
    WorkersLost,
    from_plain,
    to_plain,
)
from optuna_study.store.rows import strict_json

SENTENCES = {
    NonFinite("loss", math.nan, epoch=2, step=35, rate=0.8, before=1.5234): (
        "non_finite: The loss became nan in epoch 2, step 35, after 1.523, at learning rate 0.8."
    ),
    NonFinite("gradient norm", math.inf, epoch=1, step=1, rate=1e-05, before=None): (
        "non_finite: The gradient norm became inf in epoch 1, step 1, at the first step, at "
        "learning rate 1e-05."
    ),
    Exploding(loss=40.0, start=2.0, epoch=1, step=96, rate=0.8): (
        "exploding: The training loss grew to 40 by step 96 of epoch 1, 20 times its level at the "
        "start (2), at learning rate 0.8."
    ),
    Dead(6, False, 1.611, 0.207, 0.207, 1.6094, 0.2, epoch=6, step=558): (
        "dead: At chance level for 6 epochs: training loss 1.6110 and accuracy 20.7 %, validation "
        "20.7 % in epoch 6, where guessing gives 1.6094 and 20.0 %."
    ),
    Dead(3, True, -57.0, 0.2, 0.2, None, 0.2, epoch=5, step=558): (
        "dead: At chance level for 3 epochs, after it had learned something: training loss "
        "-57.0000 and accuracy 20.0 %, validation 20.0 % in epoch 5, where guessing gives 20.0 %."
    ),
    Oscillating(swing=0.59, epochs=6, best=0.9, loss=0.92, epoch=8, step=744): (
        "oscillating: The training loss went up and down by 0.59 or more in each of the last 6 "
        "epochs without passing its best of 0.9; it ended epoch 8 at 0.92."
    ),
    AllEpochs(4, "validation_accuracy", 0.4): "all 4 epochs: validation_accuracy 0.4",
    BestEpoch(4, 4, "log_loss", 0.25, 3): "all 4 epochs: log_loss 0.25 in epoch 3",
    BestEpoch(9, 20, "log_loss", 0.25, 6): (
        "9 of 20 epochs, the last 3 no better: log_loss 0.25 in epoch 6"
    ),
    Pruned("rungs", "validation_accuracy", "maximize", 2, 0.45, 0.5, 9): (
        "rungs: validation_accuracy 0.45 at epoch 2, below 0.5, where the better half of 9 begins"
    ),
    Pruned("Optuna's median pruner", "validation_loss", "minimize", 2, 0.5, math.nan, 6): (
        "Optuna's median pruner: validation_loss 0.5 at epoch 2, which 6 trials have reached"
    ),
    Pruned("rungs", "validation_loss", "minimize", 2, math.inf, 0.3, 6): (
        "rungs: validation_loss inf at epoch 2, above 0.3, where the better half of 6 begins"
    ),
    Reused(7, "all 4 epochs: validation_accuracy 0.4"): (
        "same settings as trial 7, not trained again; all 4 epochs: validation_accuracy 0.4"
    ),
    TimedOut(25.0): "timeout: 25 s of training were allowed",
    TimedOut(25.0, worked=30.4, epoch=3): (
        "timeout: 30 s of training after epoch 3, 25 s allowed"
    ),
    OutOfMemory("MemoryError: no more", 1): "out of memory in epoch 1: MemoryError: no more",
    SystemOutOfMemory("host-1-001"): (
        "out of memory: the system's was used up, and its kernel killed worker host-1-001"
    ),
    Failed("ValueError: no", 2): "ValueError: no (in epoch 2)",
    WorkersLost(3, "host-1-001"): (
        "3 workers in a row were lost before a new checkpoint, last host-1-001"
    ),
}


@pytest.mark.parametrize(("reason", "sentence"), SENTENCES.items())
def test_the_sentence_of_a_reason(reason: Reason, sentence: str) -> None:
    assert str(reason) == sentence


@pytest.mark.parametrize("reason", SENTENCES)
def test_a_reason_comes_back_from_strict_json(reason: Reason) -> None:
    again = from_plain(json.loads(strict_json(to_plain(reason))))
    assert type(again) is type(reason)
    assert str(again) == str(reason)
    assert again == reason or isinstance(reason, NonFinite | Pruned)  # NaN equals nothing


def test_every_reason_has_a_sentence_here() -> None:
    assert {type(reason) for reason in SENTENCES} == set(reasons.STORED)


def test_a_kind_of_a_later_version_is_unknown() -> None:
    assert from_plain({"kind": "struck_by_lightning", "epoch": 3}) is None


def test_a_divergence_of_an_earlier_version_keeps_its_sentence() -> None:
    earlier = EarlierDivergence(DivergenceKind.DEAD, "At chance level.")
    assert (earlier.message, str(earlier)) == ("At chance level.", "dead: At chance level.")
