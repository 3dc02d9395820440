"""The average of weights against its formula, in a run and through a checkpoint."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from optuna_study.training import loop
from optuna_study.training.recipe.averaging import Average

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

    Config = Callable[..., TrainConfig]

CPU = torch.device("cpu")


def test_it_follows_the_formula() -> None:
    torch.manual_seed(1)
    model = torch.nn.BatchNorm1d(6)
    average = Average.of(model, 0.2)
    expected = model.weight.detach().double().numpy()
    for step in range(1, 6):
        with torch.no_grad():
            model.weight.add_(torch.randn(6))
            model.get_buffer("running_mean").add_(1.0)
        average.update(step)
        decay = min(0.2, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach().double().numpy()
    assert np.allclose(average.module.get_parameter("weight").numpy(), expected, rtol=1e-5)
    mean = average.module.get_buffer("running_mean")
    assert torch.equal(mean, model.get_buffer("running_mean"))
    assert not any(each.requires_grad for each in average.module.parameters())


@pytest.mark.slow
def test_a_run_is_judged_by_its_average_and_ends_with_it(
    tiny_data: DeviceData, config: Config
) -> None:
    settings = config(epochs=3, ema=0.9, normalisation="batch")
    usual = config(epochs=3, normalisation="batch")
    plain = list(loop.epochs(loop.prepare(usual, tiny_data, CPU)))
    whole = loop.prepare(settings, tiny_data, CPU)
    results = list(loop.epochs(whole))
    assert [each.train_loss for each in results] == [each.train_loss for each in plain]
    assert [each.log_loss for each in results] != [each.log_loss for each in plain]
    first = loop.prepare(settings, tiny_data, CPU)
    begun = next(loop.epochs(first))
    again = loop.prepare(settings, tiny_data, CPU, state=first.state_dict())
    resumed = [begun, *loop.epochs(again)]
    untimed = [[dataclasses.replace(e, seconds=0.0) for e in each] for each in (resumed, results)]
    assert untimed[0] == untimed[1]
    whole.use_kept_weights()
    assert whole.average is None
    assert whole.evaluate(tiny_data.validation_images, tiny_data.validation_labels).log_loss == (
        results[-1].log_loss
    )
