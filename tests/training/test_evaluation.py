"""Ten crops and the average of their probabilities, against plain NumPy."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from optuna_study.config.settings import TrainConfig, with_settings
from optuna_study.errors import DataError
from optuna_study.training import evaluation, loop, losses
from optuna_study.training.device_data import to_model_input
from optuna_study.training.evaluation import (
    Evaluation,
    average_logits,
    evaluate,
    predict_proba,
    ten_crops,
)
from optuna_study.training.model_file import predict, save_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from optuna_study.training.device_data import DeviceData

CPU = torch.device("cpu")


def with_loss(loss: str, **settings: Any) -> TrainConfig:
    return with_settings(TrainConfig(), {"loss": loss, **settings})


def plain_crops(images: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    """Ten crops of (N, C, H, W), as one writes them down."""
    last = images.shape[-1] - size
    middle = last // 2
    found = []
    for top, left in [(0, 0), (0, last), (last, 0), (last, last), (middle, middle)]:
        square = images[:, :, top : top + size, left : left + size]
        found += [square, square[:, :, :, ::-1]]
    return found


@pytest.mark.parametrize(("side", "size"), [(20, 16), (9, 8), (12, 4)])
def test_ten_crops_are_those_of_numpy(side: int, size: int) -> None:
    images = np.random.RandomState(1).randint(0, 256, (3, 2, side, side), dtype=np.uint8)
    found = list(ten_crops(torch.from_numpy(images), size))
    expected = plain_crops(images, size)
    assert len(found) == 10
    for got, wanted in zip(found, expected, strict=True):
        assert np.array_equal(got.numpy(), wanted)


def test_seconds_of_prediction_are_those_of_the_round_that_nothing_disturbed(
    tiny_data: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    took = iter([0.5, 0.0451, 0.061, 0.3, 0.2])

    class Model(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            nonlocal now
            now += next(took)
            assert not self.training
            assert torch.get_num_threads() == 1
            return images.flatten(1)

    monkeypatch.setattr("optuna_study.training.evaluation.time.thread_time", lambda: now)
    monkeypatch.setattr(evaluation, "ROUND_SECONDS", 0.0)
    model = Model().train()
    config = with_settings(TrainConfig(), {"evaluation_batch_size": 4})
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = evaluation.prediction_seconds(model, config, tiny_data)
        assert torch.get_num_threads() == 2, "as before"
    finally:
        torch.set_num_threads(threads)
    assert found == 11.0  # 0.0451 s for 4 pictures, to two digits
    assert model.training
    empty = dataclasses.replace(tiny_data, validation_images=tiny_data.validation_images[:0])
    with pytest.raises(DataError, match="no validation pictures"):
        evaluation.prediction_seconds(model, config, empty)


def test_parameters_are_counted_whether_they_learn_or_not(tiny_data: DeviceData) -> None:
    frozen = torch.nn.Linear(3, 5).requires_grad_(False)
    model = torch.nn.Sequential(frozen, torch.nn.BatchNorm1d(5))
    assert evaluation.parameters(model, TrainConfig(), tiny_data) == 15 + 5 + 5 + 5


def test_without_a_margin_the_picture_and_its_mirror_image_are_left() -> None:
    images = torch.arange(2 * 9, dtype=torch.uint8).view(2, 1, 3, 3)
    crops = list(ten_crops(images, 3))
    assert len(crops) == 2
    assert crops[0].equal(images)
    assert crops[1][0, 0].tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
def test_probabilities_are_averaged_not_logits(loss: str) -> None:
    logits = torch.randn(10, 4, 5, generator=torch.Generator().manual_seed(3)) * 8
    raw = logits.double().numpy()
    if loss == "cross_entropy":
        powers = np.exp(raw - raw.max(axis=2, keepdims=True))
        expected = (powers / powers.sum(axis=2, keepdims=True)).mean(axis=0)
        got = average_logits(with_loss(loss), logits).softmax(1)
    else:
        expected = (1 / (1 + np.exp(-raw))).mean(axis=0)
        got = average_logits(with_loss(loss), logits).sigmoid()
    torch.testing.assert_close(got.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
def test_one_answer_is_its_own_average(loss: str) -> None:
    logits = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(4))
    config = with_loss(loss)
    own = losses.probabilities(config, logits[0])
    torch.testing.assert_close(losses.probabilities(config, average_logits(config, logits)), own)


def test_outputs_that_mse_takes_through_the_activation_are_averaged_as_they_are() -> None:
    """They are compared with the targets as they are, so no sigmoid belongs to them."""
    config = with_loss("mse", mse_of="activation", activation="leaky_relu")
    crops = torch.tensor([[[1.2, 0.0]], [[-0.2, 1.0]]])
    torch.testing.assert_close(average_logits(config, crops), torch.tensor([[0.5, 0.5]]))


def test_extreme_answers_stay_finite() -> None:
    logits = torch.tensor([[[300.0, -300.0]], [[-300.0, 300.0]]])
    for loss in ("cross_entropy", "mse", "bce"):
        assert average_logits(with_loss(loss), logits).isfinite().all()


@pytest.fixture
def roomy(tiny_data: DeviceData) -> DeviceData:
    """The tiny data as if a model of 12 pixels looked at it: a margin of four to crop from."""
    return dataclasses.replace(tiny_data, image_size=12)


@pytest.mark.parametrize("pixels", ["plain", "permuted"])
def test_ten_crop_evaluation_is_that_of_numpy(
    roomy: DeviceData, config: Callable[..., TrainConfig], pixels: str
) -> None:
    settings = config(evaluation="ten_crop", epochs=1, image_size=12, pixels=pixels)
    run = loop.prepare(settings, roomy, CPU)
    (result,) = loop.epochs(run)
    told = run.evaluate(roomy.test_images, roomy.test_labels)
    chances = predict_proba(run.model, settings, run.data, roomy.test_images)
    mean = roomy.mean.numpy().reshape(1, 3, 1, 1)
    std = roomy.std.numpy().reshape(1, 3, 1, 1)
    by_crop = []
    run.model.eval()
    for crop in plain_crops(roomy.test_images.numpy(), 12):
        flat = crop.reshape(len(crop), 3, 144)
        if pixels == "permuted":
            assert run.data.permutation is not None
            flat = flat[:, :, run.data.permutation.numpy()]
        values = (flat.reshape(crop.shape).astype(np.float32) / 255 - mean) / std
        with torch.no_grad():
            logits = run.model(torch.from_numpy(values.astype(np.float32))).numpy()
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        by_crop.append(powers / powers.sum(axis=1, keepdims=True))
    expected = np.mean(by_crop, axis=0)
    labels = roomy.test_labels.numpy()
    assert chances.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert told.accuracy == (expected.argmax(axis=1) == labels).mean()
    loss = -np.log(expected[np.arange(len(labels)), labels]).mean()
    assert told.loss == pytest.approx(loss, rel=1e-4)
    centre = run.model(to_model_input(roomy.test_images, run.data)).softmax(1)
    assert not torch.allclose(chances, centre)
    assert 0 <= result.validation_accuracy <= 1


def test_prediction_evaluates_as_the_training_did(
    roomy: DeviceData, config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    from PIL import Image

    settings = config(evaluation="ten_crop", epochs=1, image_size=12, pixels="permuted")
    run = loop.prepare(settings, roomy, CPU)
    list(loop.epochs(run))
    save_model(tmp_path / "model.pt", run, settings, roomy)
    path = tmp_path / "picture.png"
    Image.fromarray(roomy.test_images[0].permute(1, 2, 0).numpy()).save(path)
    (prediction,) = predict(tmp_path / "model.pt", [path], CPU)
    expected = predict_proba(run.model, settings, run.data, roomy.test_images[:1])[0]
    chances = dict(prediction.probabilities)
    got = torch.tensor([chances[name] for name in roomy.classes])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "answers"),
    [
        ({"loss": "cross_entropy"}, lambda raw: np.exp(raw)),
        ({"loss": "bce"}, lambda raw: 1 / (1 + np.exp(-raw))),
        ({"loss": "mse"}, lambda raw: 1 / (1 + np.exp(-raw))),
        ({"loss": "mse", "mse_of": "activation", "activation": "relu"}, None),
    ],
)
def test_figures_are_those_of_scikit_learn(
    settings: dict[str, Any], answers: Any, tiny_data: DeviceData
) -> None:
    """On unbalanced classes, one of which is never answered, over batches of several sizes."""
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

    changes = settings | {"name": "mlp", "evaluation_batch_size": 7, "width": 0.1}
    name = changes.pop("name")
    config = with_settings(TrainConfig(), changes)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, name=name))
    logits = torch.randn(40, 4, generator=torch.Generator().manual_seed(8)) * 3
    logits[:, 3] = -9
    labels = torch.tensor([0] * 25 + [1] * 9 + [2] * 4 + [3] * 2)
    data = dataclasses.replace(tiny_data, classes=("a", "b", "c", "d"))

    class Recorded(torch.nn.Module):
        """Gives the rows in order, whatever it sees."""

        def __init__(self) -> None:
            super().__init__()
            self.given = 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.given += len(images)
            return logits[self.given - len(images) : self.given]

    reads: list[int] = []

    def read(values: torch.Tensor) -> list[float]:
        reads.append(len(values))
        numbers: list[float] = values.tolist()
        return numbers

    images = tiny_data.train_images[:40]
    found = evaluate(Recorded(), config, data, images, labels, read=read)
    assert len(reads) == 1
    right, answered = labels.numpy(), logits.argmax(dim=1).numpy()
    assert found.accuracy == accuracy_score(right, answered)
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(right, answered))
    assert found.macro_f1 == pytest.approx(f1_score(right, answered, average="macro"))
    if answers is None:  # single precision's epsilon is the least, as in scikit-learn
        chances = losses.probabilities(config, logits).numpy()
        assert (chances[np.arange(40), right] == 0).any()
    else:
        chances = answers(logits.double().numpy())
        chances /= chances.sum(axis=1, keepdims=True)
    assert found.log_loss == pytest.approx(log_loss(right, chances), rel=1e-5)


def test_whoever_always_answers_the_largest_class_is_told_by_its_recalls() -> None:
    confusion = torch.tensor([[190, 0], [10, 0]])
    found = Evaluation(loss=1.0, accuracy=0.95, confusion=confusion, log_loss=1.0)
    assert found.balanced_accuracy == 0.5
    assert found.macro_f1 == pytest.approx(0.487, abs=5e-4)


def test_flip_averages_a_picture_and_its_mirror_image(tiny_data: DeviceData) -> None:
    settings = with_settings(TrainConfig(), {"evaluation": "flip", "image_size": 16})
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))
    images = tiny_data.test_images[:6]
    found = predict_proba(model, settings, tiny_data, images)
    inputs = to_model_input(images, tiny_data)
    with torch.no_grad():
        both = [model(each).double().softmax(dim=1) for each in (inputs, inputs.flip(-1))]
    torch.testing.assert_close(found.double(), (both[0] + both[1]) / 2, rtol=1e-5, atol=1e-6)
