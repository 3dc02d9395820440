"""Trained models as files of their own, and what they say of pictures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from optuna_study.config.catalogue import NOT_PRETRAINED
from optuna_study.config.settings import TrainConfig, config_from_dict, config_to_dict
from optuna_study.data.decode import Framing, decode
from optuna_study.errors import DataError
from optuna_study.training import checkpoint
from optuna_study.training.build_model import build_model
from optuna_study.training.device_data import DeviceData, view
from optuna_study.training.evaluation import predict_proba

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from optuna_study.training.run import Run

MODEL_VERSION = 1
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


def save_model(path: Path, run: Run, config: TrainConfig, data: DeviceData) -> None:
    """Write the run's model with all that is needed to use it on a picture.

    The data is seen as the configuration's own settings want it.

    Raises:
        DiskFullError: no space left.
        FolderError: the folder cannot be written.
    """
    data = view(data, config.data)
    model = {
        "kind": "model",
        "version": MODEL_VERSION,
        "config": config_to_dict(config),
        "classes": list(data.classes),
        "channels": data.channels,
        "cache_size": data.cache_size,
        "mean": data.mean.cpu(),
        "std": data.std.cpu(),
        "permutation": None if data.permutation is None else data.permutation.cpu(),
        "fingerprint": data.fingerprint,
        "grey_ranges": {kind: list(ends) for kind, ends in data.grey_ranges.items()},
        "epoch": run.epoch,
        "weights": run.model.state_dict(),
    }
    checkpoint.save(path, model)


def predict(path: Path, images: Sequence[Path], device: torch.device) -> list[Prediction]:
    """Classify pictures with the model of a file, in the order given.

    Raises:
        NotFoundError: no such model file or picture.
        DataError: the file holds no model, or a picture cannot be read.
        UsageError: the model is somebody's own and its module is not installed here.
    """
    stored = checkpoint.load(path)
    if stored.get("kind") != "model" or stored.get("version") != MODEL_VERSION:
        raise DataError(
            f"{path}: holds no trained model of this version; give the file that train -o wrote"
        )
    config = config_from_dict(stored["config"])
    data = _without_pictures(config, stored, device)
    model = _model(config, data, stored["weights"], device)
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


def _without_pictures(
    config: TrainConfig, stored: Mapping[str, Any], device: torch.device
) -> DeviceData:
    """The data a model was trained on, as far as its file tells: scales and sizes, no pictures."""
    side, channels = stored["cache_size"], stored["channels"]
    images = torch.empty((0, channels, side, side), dtype=torch.uint8, device=device)
    labels = torch.empty(0, dtype=torch.int64, device=device)
    permutation = stored.get("permutation")
    return DeviceData(
        train_images=images,
        train_labels=labels,
        validation_images=images,
        validation_labels=labels,
        test_images=images,
        test_labels=labels,
        mean=stored["mean"].to(device),
        std=stored["std"].to(device),
        principal=torch.zeros(channels, channels, device=device),
        classes=tuple(stored["classes"]),
        image_size=config.data.image_size,
        cache_size=side,
        fingerprint=stored["fingerprint"],
        grey_ranges={
            kind: (float(low), float(high))
            for kind, (low, high) in stored.get("grey_ranges", {}).items()
        },
        memory_format=torch.contiguous_format,
        permutation=None if permutation is None else permutation.to(device),
    )


def _model(
    config: TrainConfig, data: DeviceData, weights: Mapping[str, Any], device: torch.device
) -> nn.Module:
    model = build_model(
        # Whatever it started from, its own weights follow.
        dataclasses.replace(config.model, pretrained=NOT_PRETRAINED),
        channels=data.channels,
        image_size=data.image_size,
        classes=len(data.classes),
    )
    model.load_state_dict(dict(weights))
    return model.to(device).eval()


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
