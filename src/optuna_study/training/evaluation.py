"""What a trained model makes of pictures: by their centre, its mirror image too, or ten crops.

Ten crops are the four corners and the centre, each also mirrored (Krizhevsky et al. 2012); the
probabilities of all are averaged, or the outputs where mse looks at their activation. Where
pictures have no margin to crop from, the picture and its mirror image are left.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from optuna_study.errors import DataError
from optuna_study.training import losses
from optuna_study.training.device import autocast, one_thread, read_numbers
from optuna_study.training.device_data import DeviceData, centre_crop, to_model_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import nn

    from optuna_study.config.settings import TrainConfig

    Read = Callable[[torch.Tensor], list[float]]


TIMED = 64  # pictures of a round of prediction whose time is taken
LEAST_ROUNDS, MOST_ROUNDS = 5, 200
ROUND_SECONDS = 0.5
"""Rounds of prediction that are timed: so many, and as many more as fit into this time."""

LEAST_VALUES = 2**14
"""Of pictures that are shown to a model at once only to look at its answers."""


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of some pictures.

    `loss` and `log_loss`, the negative log likelihood of the true class (`losses.log_likelihood`),
    are means over pictures, `confusion` counts them by class (rows) and answer (columns) in int64
    on the CPU.
    """

    loss: float
    accuracy: float
    confusion: torch.Tensor
    log_loss: float

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have pictures."""
        present = self.confusion.sum(dim=1)
        recalls = self.confusion.diagonal()[present > 0].double() / present[present > 0]
        return recalls.mean().item()

    @property
    def macro_f1(self) -> float:
        """The mean F1 score of the classes that have pictures or answers."""
        counted = self.confusion.sum(dim=0) + self.confusion.sum(dim=1)
        scores = 2 * self.confusion.diagonal()[counted > 0].double() / counted[counted > 0]
        return scores.mean().item()


def evaluate(
    model: nn.Module,
    config: TrainConfig,
    data: DeviceData,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    read: Read,
) -> Evaluation:
    """The figures of a model on uint8 pictures, with one read of the device.

    Raises:
        DataError: there are no pictures.
    """
    if len(labels) == 0:
        raise DataError("evaluation: there are no pictures to evaluate on")
    size, classes = config.train.evaluation_batch_size, len(data.classes)
    loss_function = losses.get_loss(config)
    batch_losses, batch_likelihoods, batch_pairs = [], [], []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for batch, truth in zip(torch.split(images, size), torch.split(labels, size), strict=True):
            with autocast(data.device, config.train.precision):
                logits = evaluation_logits(model, config, data, batch).float()
            batch_losses.append(loss_function(logits, truth) * len(truth))
            batch_likelihoods.append(losses.log_likelihood(config, logits, truth).sum())
            batch_pairs.append(truth * classes + logits.argmax(dim=1))
        # torch's bincount reads the largest number, for which a GPU waits for all that is before.
        pairs = torch.cat(batch_pairs)
        counts = torch.zeros(classes * classes, dtype=torch.int64, device=pairs.device)
        counts.scatter_add_(0, pairs, torch.ones_like(pairs))
        sums = torch.stack((*batch_losses, *batch_likelihoods)).double()
        numbers = read(torch.cat((sums, counts.double())))
    model.train(was_training)
    count = len(batch_losses)
    confusion = torch.tensor(numbers[2 * count :], dtype=torch.int64).view(classes, classes)
    return Evaluation(
        loss=sum(numbers[:count]) / len(labels),
        accuracy=int(confusion.trace()) / len(labels),
        confusion=confusion,
        log_loss=-sum(numbers[count : 2 * count]) / len(labels),
    )


def predict_proba(
    model: nn.Module, config: TrainConfig, data: DeviceData, images: torch.Tensor
) -> torch.Tensor:
    """The probabilities (N, classes) that a model gives uint8 pictures, on their device.

    Many tiny pictures at once, such as the 65,536 points of a plane: 90 ms become 15.
    """
    return _of_logits(losses.probabilities, model, config, data, images)


def prediction_seconds(model: nn.Module, config: TrainConfig, data: DeviceData) -> float:
    """The seconds that a model takes to answer 1,000 uint8 pictures, to two digits.

    The shortest of several rounds over some validation pictures, on their device: whatever else
    works there makes rounds longer, none shorter. On a CPU they are the seconds that one core
    computes: several threads of a process wait for each other wherever cores are taken, fifty
    times as long as they compute where a small net runs on two crowded ones.

    Raises:
        DataError: there are no validation pictures.
    """
    images = data.validation_images[: min(TIMED, config.train.evaluation_batch_size)]
    clock = time.thread_time if data.device.type == "cpu" else time.perf_counter
    if len(images) == 0:
        raise DataError("seconds of prediction: there are no validation pictures")
    was_training = model.training
    model.eval()
    began, rounds = time.perf_counter(), list[float]()
    with one_thread(), torch.inference_mode(), autocast(data.device, config.train.precision):
        while len(rounds) < LEAST_ROUNDS or (
            len(rounds) < MOST_ROUNDS and time.perf_counter() - began < ROUND_SECONDS
        ):
            start = clock()
            read_numbers(evaluation_logits(model, config, data, images)[0])  # waits for the device
            rounds.append(clock() - start)
    model.train(was_training)
    return float(f"{1000 * min(rounds) / len(images):.2g}")


def parameters(model: nn.Module, _config: TrainConfig, _data: DeviceData) -> float:
    """How many parameters a model has, those that do not learn among them."""
    return float(sum(each.numel() for each in model.parameters()))


MEASURES: Mapping[str, Callable[[nn.Module, TrainConfig, DeviceData], float]] = {
    "prediction_seconds": prediction_seconds,
    "parameters": parameters,
}
"""How each of `config.epoch.COSTS` is measured, of a model that takes pictures."""


def outputs(
    model: nn.Module, config: TrainConfig, data: DeviceData, images: torch.Tensor
) -> torch.Tensor:
    """What the loss compares with the targets, (N, classes), for uint8 pictures."""
    return _of_logits(losses.outputs, model, config, data, images)


def _of_logits(
    function: Callable[[TrainConfig, torch.Tensor], torch.Tensor],
    model: nn.Module,
    config: TrainConfig,
    data: DeviceData,
    images: torch.Tensor,
) -> torch.Tensor:
    was_training = model.training
    size = max(config.train.evaluation_batch_size, LEAST_VALUES // max(images[:1].numel(), 1))
    model.eval()
    with torch.inference_mode():
        parts = []
        for batch in torch.split(images, size):
            with autocast(data.device, config.train.precision):
                logits = evaluation_logits(model, config, data, batch).float()
            parts.append(function(config, logits))
    model.train(was_training)
    return torch.cat(parts)


def evaluation_logits(
    model: nn.Module, config: TrainConfig, data: DeviceData, images: torch.Tensor
) -> torch.Tensor:
    """A model's logits (B, classes) for uint8 pictures, as the settings have them evaluated.

    A head's for the features that it reads, which are floats.
    """
    if images.is_floating_point():
        return torch.as_tensor(model(images))
    if config.data.evaluation == "centre":
        return torch.as_tensor(model(to_model_input(images, data)))
    crops: Iterable[torch.Tensor] = ten_crops(images, data.image_size)
    if config.data.evaluation == "flip":
        middle = centre_crop(images, data.image_size)
        crops = (middle, middle.flip(-1))
    logits = torch.stack([model(to_model_input(crop, data)) for crop in crops])
    return average_logits(config, logits)


def ten_crops(images: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Squares of side `size` of pictures (B, channels, side, side): five, each also mirrored."""
    margin = images.shape[-1] - size
    corners = [(0, 0), (0, margin), (margin, 0), (margin, margin), (margin // 2, margin // 2)]
    for row, column in corners if margin else corners[:1]:
        crop = images[..., row : row + size, column : column + size]
        yield crop
        yield crop.flip(-1)


def average_logits(config: TrainConfig, logits: torch.Tensor) -> torch.Tensor:
    """The logits (B, classes) of the mean answer of several (crops, B, classes) logits.

    Answers are those of the loss: the softmax, or each class's sigmoid. Where mse looks at the
    activation, outputs are on the scale of the answers already and are averaged as they are.
    """
    if losses.takes_activation(config):
        return logits.mean(dim=0)
    count = math.log(len(logits))
    if config.train.loss == "cross_entropy":
        return logits.log_softmax(dim=2).logsumexp(dim=0) - count
    present = functional.logsigmoid(logits).logsumexp(dim=0)
    return present - functional.logsigmoid(-logits).logsumexp(dim=0)
