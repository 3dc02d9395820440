"""The loss of every step, kept in little room."""

from __future__ import annotations

import copy
import math
import statistics
from typing import TYPE_CHECKING

import pytest
import torch

from optuna_study.training import loop
from optuna_study.training.recipe.step_losses import MOST, StepLosses

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

    Config = Callable[..., TrainConfig]

CPU = torch.device("cpu")


def test_a_short_run_keeps_every_step() -> None:
    kept = StepLosses()
    kept.add([3.0, 2.0])
    kept.add([1.0])
    assert kept.steps == 1
    assert kept.points == [(3.0, 3.0, 3.0), (2.0, 2.0, 2.0), (1.0, 1.0, 1.0)]


def test_a_long_run_keeps_means_and_extremes_of_a_few_steps() -> None:
    losses = [1 + math.sin(step) for step in range(3 * MOST + 5)]
    kept = StepLosses()
    for start in range(0, len(losses), 77):
        kept.add(losses[start : start + 77])
    assert kept.steps == 4
    whole = len(losses) // 4
    assert len(kept.points) == whole < MOST
    for index in (0, 1, whole // 2, whole - 1):
        few = losses[4 * index : 4 * index + 4]
        mean, low, high = kept.points[index]
        assert (low, high) == (min(few), max(few))
        assert mean == pytest.approx(statistics.fmean(few))


def test_what_is_restored_goes_on_as_if_it_had_not_stopped() -> None:
    losses = [math.cos(step) for step in range(5 * MOST)]
    whole = StepLosses()
    whole.add(losses)
    first = StepLosses()
    first.add(losses[: 3 * MOST + 1])
    second = StepLosses.restored(first.state())
    second.add(losses[3 * MOST + 1 :])
    assert second == whole


@pytest.mark.parametrize(
    "change",
    [
        {"points": torch.zeros(3)},
        {"points": torch.zeros(MOST + 1, 3)},
        {"points": [1, 2, 3]},
        {"steps": 0},
        {"steps": "2"},
        {"rest": torch.zeros(9)},
    ],
)
def test_a_state_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="losses by step"):
        StepLosses.restored({**StepLosses().state(), **change})


def test_a_run_keeps_what_it_trained_by(tiny_data: DeviceData, config: Config) -> None:
    """Its mean over an epoch is the epoch's training loss; a resumed run has all of them."""
    settings = config(epochs=2)
    run = loop.prepare(settings, tiny_data, CPU)
    results = loop.epochs(run)
    first = next(results)
    state = copy.deepcopy(run.state_dict())
    count = run.steps_per_epoch
    assert len(run.step_losses.points) == count
    means = [mean for mean, _, _ in run.step_losses.points]
    assert statistics.fmean(means) == pytest.approx(first.train_loss)
    list(results)
    assert len(run.step_losses.points) == 2 * count
    again = loop.prepare(settings, tiny_data, CPU, state=state)
    assert again.step_losses.points == run.step_losses.points[:count]
    assert loop.prepare(settings, tiny_data, CPU).step_losses.points == []
