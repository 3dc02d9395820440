from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from optuna_study.artifacts.figures import confusion_picture, curve_picture, rate_changes
from optuna_study.search.objective import to_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.epoch import EpochResult
    from optuna_study.store.records import EpochRecord


def curve(result: Callable[..., EpochResult], rates: list[float]) -> list[EpochRecord]:
    return [
        to_record(result(epoch, 0.1 * epoch, lr=rate), "validation_accuracy")
        for epoch, rate in enumerate(rates, start=1)
    ]


def pixels(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_step_of_the_rate_is_marked_between_its_epochs(
    result: Callable[..., EpochResult],
) -> None:
    assert rate_changes(curve(result, [0.01, 0.01, 0.003, 0.003, 0.003, 0.001])) == [
        (2.5, 0.003),
        (5.5, 0.001),
    ]


def test_a_smooth_schedule_has_no_steps(result: Callable[..., EpochResult]) -> None:
    assert rate_changes(curve(result, [0.1, 0.09, 0.07, 0.05, 0.03, 0.01])) == []
    assert rate_changes(curve(result, [0.1])) == []


def test_a_marked_curve_differs_from_an_unmarked_one(result: Callable[..., EpochResult]) -> None:
    plain = pixels(curve_picture("trial 1", curve(result, [0.01] * 5)))
    marked = pixels(curve_picture("trial 1", curve(result, [0.01, 0.01, 0.01, 0.003, 0.003])))
    assert plain.shape == marked.shape
    assert (plain != marked).any()


def test_a_curve_of_one_epoch_and_one_with_gaps_are_drawn(
    result: Callable[..., EpochResult],
) -> None:
    one = curve(result, [0.01])
    assert pixels(curve_picture("one", one)).std() > 0
    gap = dataclasses.replace(one[0], validation_loss=float("nan"), train_loss=0.0)
    assert pixels(curve_picture("gap", [gap])).std() > 0


def test_losses_over_orders_of_magnitude_are_drawn(result: Callable[..., EpochResult]) -> None:
    records = curve(result, [0.01] * 4)
    wild = [dataclasses.replace(records[0], train_loss=1e6), *records[1:]]
    assert pixels(curve_picture("wild", wild)).std() > 0


@pytest.mark.slow
def test_confusions_of_few_and_of_many_classes_are_drawn() -> None:
    few = confusion_picture("few", np.array([[9, 1], [0, 0]]), ["cat", "dog"])
    many = confusion_picture("many", np.eye(40, dtype=np.int64) * 7, [str(i) for i in range(40)])
    assert pixels(few).std() > 0
    assert pixels(many).shape[0] > pixels(few).shape[0]
