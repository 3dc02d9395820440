"""A run ends with its best epoch, or early when no better one comes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

from optuna_study.training import checkpoint, loop
from optuna_study.training.evaluation import predict_proba
from optuna_study.training.model_file import read_model, save_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.config.epoch import EpochResult
    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

    Config = Callable[..., TrainConfig]

CPU = torch.device("cpu")
SPOILT = {"epochs": 8, "breakpoints": ((3, 0.4),), "dropout": 0.2, "epoch": "best"}
"""Settings of a run that is at its best before the rate rises."""


def untimed(result: EpochResult) -> EpochResult:
    return dataclasses.replace(result, seconds=0.0)


@pytest.mark.parametrize("metric", ["log_loss", pytest.param("macro_f1", marks=pytest.mark.slow)])
def test_weights_and_figures_are_those_of_the_best_epoch(
    tiny_data: DeviceData, config: Config, metric: str, tmp_path: Path
) -> None:
    settings = config(**SPOILT)
    run = loop.prepare(settings, tiny_data, CPU, metric=metric)
    results, chances = [], []
    for result in loop.epochs(run):
        results.append(result)
        chances.append(predict_proba(run.model, settings, tiny_data, tiny_data.test_images))
    values = [getattr(each, metric) for each in results]
    best = values.index(max(values) if metric == "macro_f1" else min(values))
    assert best < len(results) - 1, "otherwise this shows nothing"
    assert run.kept_epoch == best + 1
    run.use_kept_weights()
    assert getattr(run.validate(), metric) == values[best]
    found = predict_proba(run.model, settings, tiny_data, tiny_data.test_images)
    assert torch.equal(found, chances[best])
    save_model(tmp_path / "model.pt", run, settings, tiny_data)
    assert read_model(tmp_path / "model.pt").epoch == best + 1


@pytest.mark.slow
def test_patience_ends_a_run_as_finished(tiny_data: DeviceData, config: Config) -> None:
    for kept in ("best", "last"):
        settings = config(**(SPOILT | {"epoch": kept, "patience": 2}))
        run = loop.prepare(settings, tiny_data, CPU, metric="log_loss")
        results = list(loop.epochs(run))
        values = [each.log_loss for each in results]
        best = values.index(min(values)) + 1
        assert len(results) == best + 2 < settings.train.epochs
        assert (run.finished, run.ended) == (True, False)
        assert run.kept_epoch == (best if kept == "best" else best + 2)


@pytest.mark.slow
def test_a_resumed_run_keeps_the_same_epoch(
    tiny_data: DeviceData, config: Config, tmp_path: Path
) -> None:
    settings = config(**SPOILT)
    whole = loop.prepare(settings, tiny_data, CPU, metric="log_loss")
    expected = [untimed(each) for each in loop.epochs(whole)]
    first = loop.prepare(settings, tiny_data, CPU, metric="log_loss")
    begun = loop.epochs(first)
    before = [untimed(next(begun)) for _ in range(5)]
    assert first.kept_epoch < 5, "the best is from before the checkpoint"
    checkpoint.save(tmp_path / "trial.pt", first.state_dict())
    state = checkpoint.load(tmp_path / "trial.pt")
    again = loop.prepare(settings, tiny_data, CPU, metric="log_loss", state=state)  # type: ignore[arg-type]
    assert before + [untimed(each) for each in loop.epochs(again)] == expected
    for run in (whole, again):
        run.use_kept_weights()
    assert again.kept_epoch == whole.kept_epoch
    ours, theirs = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
