"""Epochs by an objective of one's own: this module's functions stand for somebody's."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from optuna_study.config.reasons import DivergenceKind
from optuna_study.errors import UsageError
from optuna_study.training import loop
from optuna_study.training.augment import augment
from optuna_study.training.custom_objective import check_objective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData
    from optuna_study.training.run import Run

    Config = Callable[..., TrainConfig]

CPU = torch.device("cpu")
ALL_FIGURES = {
    "train_loss": 0.5,
    "train_accuracy": 0.75,
    "validation_loss": 0.25,
    "validation_accuracy": 0.875,
    "lr": 3.0,
    "gradient_norm": 2.0,
}


def descend(run: Run, epoch: int) -> dict[str, float] | None:
    """One step on all pictures, in noise."""
    if run.stop.is_set():
        return None
    data = run.data
    images = augment(data.train_images, (), data, torch.Generator())
    images = images + 0.1 * torch.randn_like(images)
    run.optimizer.zero_grad()
    logits = run.model(images)
    loss = torch.nn.functional.cross_entropy(logits, data.train_labels)
    loss.backward()  # type: ignore[no-untyped-call]
    run.optimizer.step()
    right = (logits.argmax(dim=1) == data.train_labels).double().mean()
    return {"train_loss": float(loss.detach()), "train_accuracy": float(right)}


def tells_all(run: Run, epoch: int) -> dict[str, float]:
    return dict(ALL_FIGURES)


def not_a_number(run: Run, epoch: int) -> dict[str, float]:
    return {"train_loss": math.nan, "train_accuracy": 0.5}


def nothing(run: Run, epoch: int) -> None: ...
def misspelt(run: Run, epoch: int) -> dict[str, float]:
    return ALL_FIGURES | {"validation_acuracy": 1.0}


def too_little(run: Run, epoch: int) -> dict[str, float]:
    return {"train_loss": 1.0}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "somebodys", sys.modules[__name__])
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def figures(result: Any) -> tuple[float, ...]:
    return result.train_loss, result.train_accuracy, result.validation_loss, result.lr


def test_it_trains_the_model_and_is_validated_as_usual(
    tiny_data: DeviceData, config: Config
) -> None:
    settings = config(objective="somebodys:descend", epochs=3, lr=0.1, breakpoints=((1, 0.01),))
    run = loop.prepare(settings, tiny_data, CPU)
    rates = []
    for result in loop.epochs(run):
        here = run.evaluate(tiny_data.validation_images, tiny_data.validation_labels)
        assert (result.validation_loss, result.validation_accuracy) == (here.loss, here.accuracy)
        assert math.isnan(result.gradient_norm)
        assert result.divergence is None
        rates.append(result.lr)
    assert rates == [0.1, 0.01, 0.01]
    assert run.epoch == 3


def test_a_resumed_run_is_the_same_run(tiny_data: DeviceData, config: Config) -> None:
    settings = config(objective="somebodys:descend", epochs=4)
    whole = [figures(each) for each in loop.epochs(loop.prepare(settings, tiny_data, CPU))]
    first = loop.prepare(settings, tiny_data, CPU)
    begun = loop.epochs(first)
    before = [figures(next(begun)) for _ in range(2)]
    again = loop.prepare(settings, tiny_data, CPU, state=first.state_dict())
    assert before + [figures(each) for each in loop.epochs(again)] == whole


def test_what_it_tells_goes_before_what_is_found_here(
    tiny_data: DeviceData, config: Config
) -> None:
    run = loop.prepare(config(objective="somebodys:tells_all", epochs=1), tiny_data, CPU)
    [result] = loop.epochs(run)
    assert {name: getattr(result, name) for name in ALL_FIGURES} == ALL_FIGURES
    usual = run.validate()
    assert (result.log_loss, result.macro_f1) == (usual.log_loss, usual.macro_f1)
    assert usual.confusion.sum() == len(tiny_data.validation_labels)


def test_a_loss_that_is_no_number_is_a_divergence(tiny_data: DeviceData, config: Config) -> None:
    run = loop.prepare(config(objective="somebodys:not_a_number", epochs=3), tiny_data, CPU)
    [result] = loop.epochs(run)
    assert result.divergence is not None
    assert result.divergence.kind is DivergenceKind.NON_FINITE


def test_one_that_is_told_to_stop_leaves_the_epoch(tiny_data: DeviceData, config: Config) -> None:
    run = loop.prepare(config(objective="somebodys:descend", epochs=3), tiny_data, CPU)
    run.stop.set()
    assert list(loop.epochs(run)) == []
    assert run.interrupted


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "objective 'somebodys:nothing': gave NoneType; it is called as"),
        ("misspelt", "gives 'validation_acuracy', did you mean 'validation_accuracy'?"),
        ("too_little", "gives no 'train_accuracy'; it is called as function(run, epoch)"),
    ],
)
def test_one_that_gives_something_else_is_refused(
    tiny_data: DeviceData, config: Config, name: str, sentence: str
) -> None:
    run = loop.prepare(config(objective=f"somebodys:{name}", epochs=1), tiny_data, CPU)
    with pytest.raises(UsageError) as caught:
        next(loop.epochs(run))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("reference", ["somebodys:ALL_FIGURES", "somebodys:figures", "nowhere:at"])
def test_one_that_cannot_be_called_is_found_before_a_study_is_made(reference: str) -> None:
    with pytest.raises(UsageError, match=f"'{reference}'"):
        check_objective(reference)
    check_objective("somebodys:descend")
