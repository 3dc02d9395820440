"""A step never waits for the device: it reads no number, whatever the settings, at any rate.

On a GPU each such read stalls the queue of kernels, and a step that has one cannot be captured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from operations import Operations

from optuna_study.training import loop
from optuna_study.training.optimizers import set_lr
from optuna_study.training.recipe.mixing import mixer_of
from optuna_study.training.steps.step import step

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData
    from optuna_study.training.run import Run

    Config = Callable[..., TrainConfig]

CPU = torch.device("cpu")


def operations(run: Run, lr: float) -> list[str]:
    """Those of one step at a learning rate; what is drawn on the CPU is drawn before."""
    pictures = torch.arange(run.pictures_per_step)
    noise, mixer = torch.Generator().manual_seed(1), mixer_of(run.config.train, 1)
    set_lr(run.optimizer, lr)
    run.model.train()
    seen = Operations()
    with seen:
        step(run, pictures, noise, mixer)
    return seen.names


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "momentum"},
        {"optimizer": "adam", "loss": "mse", "augmentation": "flip+crop"},
        {"optimizer": "adamw", "loss": "bce", "gradient_clip": 1.0, "dropout": 0.5},
        {"optimizer": "rmsprop", "label_smoothing": 0.1, "normalisation": "batch"},
        {"optimizer": "sgd", "accumulate": 2, "normalisation": "lrn"},
        {"optimizer": "adam", "precision": "bf16", "class_weights": "balanced"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_a_step_reads_nothing_and_does_the_same_at_every_rate(
    tiny_data: DeviceData, config: Config, changes: dict[str, Any]
) -> None:
    run = loop.prepare(config(**changes), tiny_data, CPU)
    operations(run, 0.01)  # the optimizer makes its state in its first step
    addresses = [each.data_ptr() for each in run.parameters]
    one, other = operations(run, 0.01), operations(run, 0.003)
    assert one == other
    assert len(one) > 20
    assert [each.data_ptr() for each in run.parameters] == addresses


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
def test_an_evaluation_waits_once(tiny_data: DeviceData, config: Config, loss: str) -> None:
    class Read(Exception):
        pass

    def stop(_values: torch.Tensor) -> list[float]:
        raise Read

    run = loop.prepare(config(loss=loss), tiny_data, CPU)
    run.read = stop
    with Operations() as seen, pytest.raises(Read):
        run.validate()
    assert len(seen.names) > 20


def test_what_reads_a_number_is_noticed() -> None:
    with Operations(), pytest.raises(AssertionError, match="waits for the device"):
        torch.ones(()).item()
