"""A model's answers as numbers, against the model itself."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from launching import work_here
from PIL import Image

from optuna_study.artifacts import answers
from optuna_study.config.settings import DataSettings
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.report.figures.predictions import (
    LARGEST,
    MOST_MISTAKES,
    Predictions,
    from_bytes,
    to_bytes,
)
from optuna_study.report.figures.study_data import load_study_data
from optuna_study.training.device_data import load_data
from optuna_study.training.model_file import predict

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from optuna_study.paths import Workspace
    from optuna_study.training.device_data import DeviceData

STUDY = """
data = {name = "digits", image_size = 16, subset = 0.3}
model = {name = "mlp", variant = "50", dropout = 0.0}
train = {epochs = 3, batch_size = 64, threads = 1, optimizer = "adam", lr = 0.01}
search = {trials = 1, confirm = {top = 0}, pruner = "none", outputs_of = 5}
[space]
lr = {low = 1e-4, high = 0.01, log = true}
[[baselines]]
name = "plain"
"""
CONFUSION = np.eye(3, dtype=np.int64)


@pytest.fixture(scope="module")
def spiral(shared_workspace: Workspace) -> DeviceData:
    settings = DataSettings(name="spiral", image_size=1)
    return load_data(settings, None, shared_workspace, torch.device("cpu"))


@pytest.fixture(scope="module")
def digits(digits_workspace: Workspace) -> DeviceData:
    settings = DataSettings(name="digits", image_size=16)
    return load_data(settings, None, digits_workspace, torch.device("cpu"))


def by_halves(images: torch.Tensor) -> NDArray[np.float32]:
    """A model of the plane: class 0 on the left, surer of it further away; else class 1."""
    x = images[:, 0, 0, 0].numpy().astype(np.float32) / 255
    return np.stack([1 - x, x, np.zeros_like(x)], axis=1)


def refuse(_: object) -> NDArray[np.float32]:
    raise AssertionError("asked")


def test_a_plane_is_asked_everywhere_x_fastest(spiral: DeviceData) -> None:
    found = answers.answers(spiral, CONFUSION, by_halves, refuse, in_detail=True)
    assert found.plane is not None
    assert found.mistakes is None
    assert found.plane.answers[7].tolist() == [0] * 128 + [1] * 128
    assert found.plane.chances[200, [0, 255, 128]].tolist() == [255, 255, 128]


def test_points_held_out_for_the_test_are_not_kept(spiral: DeviceData) -> None:
    few = dataclasses.replace(
        spiral,
        train_images=torch.tensor([[30, 200]], dtype=torch.uint8).view(1, 2, 1, 1),
        train_labels=torch.tensor([1]),
        validation_images=torch.tensor([[31, 0]], dtype=torch.uint8).view(1, 2, 1, 1),
        validation_labels=torch.tensor([2]),
    )
    plane = answers.ask_plane(few, by_halves)
    assert plane.points.tolist() == [[30, 200, 1], [31, 0, 2]]
    picture = answers.plane_picture(few)
    rows, columns = np.nonzero((picture < 255).any(axis=2))
    assert sorted(zip(columns.tolist(), rows.tolist(), strict=True)) == [(30, 55), (31, 255)]


def test_points_are_told_by_their_shape_alone(spiral: DeviceData) -> None:
    assert answers.is_plane(dataclasses.replace(spiral, fingerprint="other"))
    wide = dataclasses.replace(spiral, train_images=spiral.train_images.expand(-1, 2, 2, 2))
    assert not answers.is_plane(wide)


def test_the_worst_mistakes_are_the_surest_wrong_answers(digits: DeviceData) -> None:
    truths = digits.validation_labels.numpy()
    chances = np.linspace(0.5, 0.99, len(truths), dtype=np.float32)
    given = truths.copy()
    given[[3, 10, 40]] = (given[[3, 10, 40]] + 1) % 10

    def probabilities() -> NDArray[np.float32]:
        probabilities = np.full((len(truths), 10), 0.01, np.float32)
        probabilities[np.arange(len(truths)), given] = chances
        return probabilities

    found = answers.find_mistakes(digits, probabilities())
    assert found.chances == pytest.approx(chances[[40, 10, 3]])
    assert found.truths.tolist() == truths[[40, 10, 3]].tolist()
    assert found.answers.tolist() == given[[40, 10, 3]].tolist()
    first = digits.validation_images[40].permute(1, 2, 0).numpy()
    assert np.array_equal(found.images[0], first)
    given[:] = truths
    assert len(answers.find_mistakes(digits, probabilities()).images) == 0
    given[:] = (truths + 1) % 10
    assert len(answers.find_mistakes(digits, probabilities()).images) == MOST_MISTAKES


def test_large_pictures_are_kept_small(digits: DeviceData) -> None:
    large = digits.validation_images[:2].repeat(1, 1, 20, 20)
    data = dataclasses.replace(
        digits, validation_images=large, validation_labels=digits.validation_labels[:2]
    )
    wrong = np.zeros((2, 10), np.float32)
    wrong[np.arange(2), (data.validation_labels.numpy() + 1) % 10] = 1.0
    found = answers.find_mistakes(data, wrong)
    assert found.images.shape == (2, LARGEST, LARGEST, digits.channels)
    assert found.images.mean() == pytest.approx(large.float().mean().item(), abs=2)


def test_a_model_is_asked_only_where_single_pictures_are_looked_at(digits: DeviceData) -> None:
    found = answers.answers(digits, CONFUSION, refuse, refuse, in_detail=False)
    assert (found.mistakes, found.plane) == (None, None)
    assert found.confusion is CONFUSION


def test_one_training_picture_is_asked_about_and_kept(digits: DeviceData) -> None:
    def ask(images: torch.Tensor) -> NDArray[np.float32]:
        assert torch.equal(images, digits.train_images[7:8])
        return np.full((1, 10), 0.5, np.float32)

    found = answers.ask_outputs(digits, ask, 7)
    assert found is not None
    assert (found.record, found.truth) == (7, int(digits.train_labels[7]))
    assert found.image.tolist() == digits.train_images[7].permute(1, 2, 0).tolist()
    assert found.values.tolist() == [0.5] * 10
    assert answers.ask_outputs(digits, ask, len(digits.train_images)) is None
    read = from_bytes(to_bytes(Predictions(digits.classes, np.eye(10, dtype=int), outputs=found)))
    assert read.outputs is not None
    assert read.outputs.image.tolist() == found.image.tolist()


@pytest.mark.slow
def test_a_study_keeps_the_outputs_and_losses_that_its_figures_show(
    tmp_path: Path, warm_workspace: Workspace
) -> None:
    """Of its baseline and of its best: what the kept model gives, and every step's loss."""
    (tmp_path / "kept.toml").write_text(STUDY)
    prepared = prepare(
        LaunchRequest(
            str(tmp_path / "kept.toml"), device="cpu", workers=1, workspace=warm_workspace
        )
    )
    work_here(prepared.workers[0])
    for number in (0, 1):
        data = load_study_data(prepared.store, prepared.study, warm_workspace, number)
        assert data.predictions is not None
        assert data.losses is not None
        outputs, losses = data.predictions.outputs, data.losses
        assert outputs is not None
        assert (outputs.record, outputs.values.shape) == (5, (10,))
        assert outputs.values.sum() == pytest.approx(1.0, abs=1e-5)
        curve = data.curves[number]
        count = len(losses.points) // len(curve)
        for epoch in curve:
            few = losses.points[(epoch.epoch - 1) * count : epoch.epoch * count, 0]
            assert few.mean() == pytest.approx(epoch.train_loss, rel=1e-5)
        model = warm_workspace.kept_model(prepared.study.uuid, number, 1)
        picture = tmp_path / f"{number}.png"
        Image.fromarray(outputs.image[..., 0]).save(picture)
        (predicted,) = predict(model, [picture], torch.device("cpu"))
        chances = dict(predicted.probabilities)
        for name, value in zip(data.predictions.classes, outputs.values, strict=True):
            assert chances[name] == pytest.approx(value, abs=1e-4)
