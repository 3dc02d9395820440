"""Reduced precision, and a step for which memory does not suffice."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from optuna_study.training import loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

    Config = Callable[..., TrainConfig]

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.slow
def test_the_model_computes_in_it_and_weights_stay_single(
    tiny_data: DeviceData, config: Config, precision: str
) -> None:
    seen: set[torch.dtype] = set()
    single = loop.prepare(config(epochs=2, dropout=0.0), tiny_data, CPU)
    run = loop.prepare(config(epochs=2, dropout=0.0, precision=precision), tiny_data, CPU)
    last = [each for each in run.model.modules() if isinstance(each, torch.nn.Linear)][-1]
    last.register_forward_hook(lambda _layer, _inputs, outputs: seen.add(outputs.dtype))
    ours, theirs = list(loop.epochs(run)), list(loop.epochs(single))
    assert seen == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert {each.dtype for each in run.parameters} == {torch.float32}
    assert (run.scaler is not None) == (precision == "fp16")
    assert ours[0].train_loss != theirs[0].train_loss
    assert ours[0].train_loss == pytest.approx(theirs[0].train_loss, rel=0.15)
    assert all(math.isfinite(each.gradient_norm) for each in ours)
    assert ours[-1].log_loss < ours[0].log_loss


@pytest.mark.slow
def test_the_scaler_goes_through_a_checkpoint(tiny_data: DeviceData, config: Config) -> None:
    settings = config(epochs=3, precision="fp16")
    whole = [untimed(each) for each in loop.epochs(loop.prepare(settings, tiny_data, CPU))]
    first = loop.prepare(settings, tiny_data, CPU)
    begun = untimed(next(loop.epochs(first)))
    again = loop.prepare(settings, tiny_data, CPU, state=first.state_dict())
    assert [begun, *(untimed(each) for each in loop.epochs(again))] == whole


def untimed(result: Any) -> Any:
    return dataclasses.replace(result, seconds=0.0)


def refuse_more_than(run: loop.Run, pictures: int) -> None:
    """Let the model's memory suffice for so many training pictures at once."""

    def refuse(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if model.training and len(inputs[0]) > pictures:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    run.model.register_forward_pre_hook(refuse)


def test_a_step_that_does_not_fit_goes_on_with_half_the_pictures_at_once(
    tiny_data: DeviceData, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(epochs=2, batch_size=30, dropout=0.0, normalisation="none")
    usual = [each.train_loss for each in loop.epochs(loop.prepare(settings, tiny_data, CPU))]
    run = loop.prepare(settings, tiny_data, CPU)
    refuse_more_than(run, 15)
    found = [each.train_loss for each in loop.epochs(run)]
    assert found == pytest.approx(usual, rel=1e-4)
    assert (run.batch_size, run.pictures_per_step, run.halved) == (15, 30, True)
    assert "goes on with 15 pictures at once and as many a step as before" in caplog.text
    again = loop.prepare(settings, tiny_data, CPU, state=run.state_dict())
    assert again.batch_size == 15


def test_it_is_halved_once(tiny_data: DeviceData, config: Config) -> None:
    run = loop.prepare(config(batch_size=30), tiny_data, CPU)
    refuse_more_than(run, 14)
    with pytest.raises(torch.OutOfMemoryError):
        list(loop.epochs(run))
    other = loop.prepare(config(), tiny_data, CPU)
    other.model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(loop.epochs(other))
    assert not other.halved
