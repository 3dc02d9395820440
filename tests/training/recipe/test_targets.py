"""Smoothed labels and weighted classes against NumPy; clipping and several batches a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from optuna_study.config.settings import TrainConfig, with_settings
from optuna_study.training import loop, losses
from optuna_study.training.recipe.targets import training_loss
from optuna_study.training.steps.step import step

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.training.device_data import DeviceData

CPU = torch.device("cpu")
COUNTS = [60, 30, 10]
LOGITS = torch.randn(12, 3, generator=torch.Generator().manual_seed(2)) * 2
LABELS = torch.tensor([0, 1, 2, 0, 0, 1, 2, 2, 1, 0, 0, 0])


def found(loss: str, **settings: Any) -> float:
    config = with_settings(TrainConfig(), {"loss": loss, **settings})
    return training_loss(config, COUNTS, CPU)(LOGITS, LABELS).item()


def by_picture(loss: str, smoothing: float) -> Any:
    """Each picture's loss, as one writes it down."""
    raw = LOGITS.double().numpy()
    targets = np.eye(3)[LABELS.numpy()] * (1 - smoothing) + smoothing / 3
    if loss == "cross_entropy":
        chances = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
        return -(targets * np.log(chances)).sum(axis=1)
    sigmoid = 1 / (1 + np.exp(-raw))
    if loss == "mse":
        return ((sigmoid - targets) ** 2).mean(axis=1)
    return -(targets * np.log(sigmoid) + (1 - targets) * np.log(1 - sigmoid)).mean(axis=1)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
def test_the_formulas(loss: str) -> None:
    assert found(loss, label_smoothing=0.2) == pytest.approx(by_picture(loss, 0.2).mean())
    weights = 100 / (3 * np.array(COUNTS))[LABELS.numpy()]
    weighted = (weights * by_picture(loss, 0.0)).sum() / weights.sum()
    assert found(loss, class_weights="balanced") == pytest.approx(weighted)
    config = with_settings(TrainConfig(), {"loss": loss})
    assert training_loss(config, COUNTS, CPU) is losses.get_loss(config)


def test_a_gradient_is_clipped_and_its_own_norm_is_told(
    tiny_data: DeviceData, config: Callable[..., TrainConfig]
) -> None:
    settings = config(gradient_clip=0.01, optimizer="sgd", lr=1.0, dropout=0.0, weight_decay=0.0)
    run = loop.prepare(settings, tiny_data, CPU)
    before = [each.detach().clone() for each in run.parameters]
    _, norm, _ = step(run, torch.arange(20), torch.Generator())
    moved = [a - b for a, b in zip(run.parameters, before, strict=True)]
    length = torch.stack([each.norm() for each in moved]).norm().item()
    assert length == pytest.approx(0.01, rel=1e-3)
    assert norm.item() > 0.01


def test_several_batches_make_one_step(
    tiny_data: DeviceData, config: Callable[..., TrainConfig]
) -> None:
    """As a batch that is as large, but for the order of sums."""
    curves = []
    for changes in ({"batch_size": 10, "accumulate": 3}, {"batch_size": 30}):
        run = loop.prepare(config(dropout=0.0, epochs=2, **changes), tiny_data, CPU)
        assert run.steps_per_epoch == 3
        curves.append([each.validation_loss for each in loop.epochs(run)])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
