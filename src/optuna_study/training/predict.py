"""What a trained model, from a file of its own, says of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from optuna_study.data.decode import Framing, decode
from optuna_study.errors import DataError
from optuna_study.training.device_data import DeviceData
from optuna_study.training.evaluation import predict_proba
from optuna_study.training.model_file import load_network, read_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from optuna_study.training.model_file import ModelFile

BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture: each class with its probability, the likeliest first.

    `note` is a sentence where the picture's file had to be mended to be read.
    """

    image: Path
    label: str
    probabilities: tuple[tuple[str, float], ...]
    note: str | None = None


def predict(path: Path, images: Sequence[Path], device: torch.device) -> list[Prediction]:
    """Classify pictures with the model of a file, in the order given.

    Raises:
        NotFoundError: no such model file or picture.
        DataError: the file holds no model, or a picture cannot be read.
        UsageError: the model is somebody's own and its module is not installed here.
    """
    stored = read_model(path)
    config, data = stored.config, _without_pictures(stored, device)
    try:
        model = load_network(stored, device)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    predictions = []
    for batch, notes, paths in _batches(
        images, data, Framing(config.data.fit, config.data.image_size)
    ):
        chances = predict_proba(model, config, data, batch.to(device)).tolist()
        for image, note, answer in zip(paths, notes, chances, strict=True):
            ranked = sorted(
                zip(data.classes, answer, strict=True), key=lambda pair: pair[1], reverse=True
            )
            predictions.append(Prediction(image, ranked[0][0], tuple(ranked), note))
    return predictions


def _without_pictures(model: ModelFile, device: torch.device) -> DeviceData:
    """The data a model was trained on, as far as its file tells: scales and sizes, no pictures."""
    side, channels, order = model.cache_size, model.channels, model.permutation
    images = torch.empty((0, channels, side, side), dtype=torch.uint8, device=device)
    labels = torch.empty(0, dtype=torch.int64, device=device)
    return DeviceData(
        train_images=images,
        train_labels=labels,
        validation_images=images,
        validation_labels=labels,
        test_images=images,
        test_labels=labels,
        mean=model.mean.to(device),
        std=model.std.to(device),
        principal=torch.zeros(channels, channels, device=device),
        classes=model.classes,
        image_size=model.config.data.image_size,
        cache_size=side,
        fingerprint=model.fingerprint,
        grey_ranges=model.grey_ranges,
        memory_format=torch.contiguous_format,
        permutation=None if order is None else order.to(device),
    )


def _batches(
    images: Sequence[Path], data: DeviceData, framing: Framing
) -> Iterator[tuple[torch.Tensor, list[str | None], Sequence[Path]]]:
    """Decoded pictures as uint8 (B, channels, side, side), what was mended, and their paths."""
    for start in range(0, len(images), BATCH):
        paths = images[start : start + BATCH]
        decoded = [
            decode(path, data.cache_size, data.channels, framing, data.grey_ranges)
            for path in paths
        ]
        pixels = torch.from_numpy(np.stack([pixels for pixels, _ in decoded]))
        yield pixels.permute(0, 3, 1, 2), [note for _, note in decoded], paths
