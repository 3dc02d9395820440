"""Trained models as files: written whole, read as a checked format, and asked for classes.

Such a file may come from anywhere. Its parts are read by type and size, and its weights are held
against the model that its configuration stands for before that takes any memory.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from optuna_study.config.allowed import modules_of, require_allowed
from optuna_study.config.catalogue import NOT_PRETRAINED, is_reference
from optuna_study.config.reader import Node, Problems, Readers, read_config, read_fields
from optuna_study.config.settings import TrainConfig, config_to_dict, setting
from optuna_study.data.decode import Framing, decode
from optuna_study.errors import DataError, NotFoundError
from optuna_study.training import checkpoint
from optuna_study.training.backbone.timm_models import own_scale
from optuna_study.training.backbone.without_compiler import without_compiler
from optuna_study.training.build_model import build_model, with_names
from optuna_study.training.device_data import DeviceData, view
from optuna_study.training.evaluation import predict_proba

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from optuna_study.training.run import Run

MODEL_VERSION = 1
MOST_CLASSES = 100_000


@dataclass(frozen=True)
class ModelFile:
    """What is needed to use a trained model on a picture.

    `mean` and `std` are per channel, `permutation` as in `DeviceData`; `weights` is the model's
    state_dict.
    """

    config: TrainConfig
    classes: tuple[str, ...]
    weights: Mapping[str, torch.Tensor]
    mean: torch.Tensor
    std: torch.Tensor
    channels: int = setting(dataclasses.MISSING, "Of a picture.", low=1, high=16)
    cache_size: int = setting(dataclasses.MISSING, "A decoded picture's side.", low=1, high=4096)
    fingerprint: str = ""
    epoch: int = 0
    permutation: torch.Tensor | None = None
    grey_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def save_model(path: Path, run: Run, config: TrainConfig, data: DeviceData) -> None:
    """Write the run's model with all that is needed to use it on a picture.

    The data is seen as the configuration's own settings want it.

    Raises:
        DiskFullError: no space left.
        FolderError: the folder cannot be written.
    """
    data = view(data, config.data, own_scale(config))
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
        "epoch": run.kept_epoch,
        "weights": run.whole_model().state_dict(),
    }
    checkpoint.save(path, model)


def read_model(path: Path) -> ModelFile:
    """The model in a file, or in a folder that hands one out, its parts checked.

    Raises:
        NotFoundError: no such file, or a folder without a model.
        DataError: it holds no model, or one whose parts cannot be.
    """
    stored = checkpoint.read_folder(path) if path.is_dir() else checkpoint.load(path)
    if stored.get("kind") != "model" or stored.get("version") != MODEL_VERSION:
        raise DataError(
            f"{path}: holds no trained model of this version; give the file that train -o wrote"
        )
    problems = Problems()
    node = Node(stored, "", problems)
    fields = [one for one in dataclasses.fields(ModelFile) if one.name != "config"]
    values = read_fields(node, fields, ("kind", "version", "config"), _READERS)
    config = read_config(node.get("config", None))
    for name in ("classes", "weights", "mean", "std", "channels", "cache_size"):
        if name not in values and not problems.at(name):
            node.get(name, None).refuse("is missing")
    if not problems.noted:
        model = ModelFile(config, **values)
        _check_sizes(model, problems)
        if not problems.noted:
            return model
    raise DataError(f"{path}: holds no model that can be used: {problems.sentences()[0]}")


def load_network(
    model: ModelFile, device: torch.device, allowed: Collection[str] = ()
) -> nn.Module:
    """The model itself, ready to be asked; `allowed` are modules whose functions it may name.

    Raises:
        DataError: weights that are not the model's.
        UsageError: the model is somebody's own, and its module is not allowed, or not here.
    """
    require_allowed("the model", modules_of(model.config), allowed)
    # Whatever it started from, its own weights follow.
    settings = replace(model.config.model, pretrained=NOT_PRETRAINED, train_layers="all")
    sizes: dict[str, Any] = {
        "channels": model.channels,
        "image_size": model.config.data.image_size,
        "classes": len(model.classes),
    }
    weights = model.weights
    if not is_reference(settings.name):
        # Weights that are drawn without memory would import torch's compiler.
        with torch.device("meta"), without_compiler():
            planned = build_model(settings, **sizes)
        weights = with_names(weights, planned)
        shapes = {name: weight.shape for name, weight in planned.state_dict().items()}
        if shapes != {name: weight.shape for name, weight in weights.items()}:
            raise DataError(f"the file's weights are not those of its model, {settings.name}")
    network = build_model(settings, **sizes)
    try:
        network.load_state_dict(dict(weights))
    except (RuntimeError, TypeError, ValueError) as error:
        raise DataError(
            f"the file's weights are not those of its model, {settings.name}"
        ) from error
    return network.to(device).eval()


def _check_sizes(model: ModelFile, problems: Problems) -> None:
    for name, values in (("mean", model.mean), ("std", model.std)):
        if values.shape != (model.channels,) or not values.isfinite().all():
            problems.add(name, f"must be {model.channels} finite numbers, one a channel")
        elif name == "std" and not (values > 0).all():
            problems.add(name, "must be above 0")
    pixels = model.config.data.image_size**2
    order = model.permutation
    if order is not None and not (
        order.shape == (pixels,)
        and order.dtype == torch.int64
        and torch.equal(order.sort().values, torch.arange(pixels))
    ):
        problems.add("permutation", f"must be an order of {pixels:,} pixels")


def _classes(node: Node) -> tuple[str, ...] | None:
    raw = node.raw if isinstance(node.raw, list) else []
    names = tuple(name for name in raw if isinstance(name, str))
    if len(names) == len(raw) == len(set(names)) and 2 <= len(names) <= MOST_CLASSES:
        return names
    node.refuse(f"must be a list of 2 to {MOST_CLASSES:,} names")
    return None


def _tensor(node: Node) -> torch.Tensor | None:
    if isinstance(node.raw, torch.Tensor) and node.raw.layout == torch.strided:
        return node.raw
    node.expect("a tensor")
    return None


def _weights(node: Node) -> dict[str, torch.Tensor]:
    entries = node.table()
    weights = {name: _tensor(entry) for name, entry in entries.items()}
    return {name: weight for name, weight in weights.items() if weight is not None}


def _grey_ranges(node: Node) -> dict[str, tuple[float, float]]:
    ranges = {}
    for kind, entry in node.table().items():
        ends = [item.number() for item in entry.items()]
        low, high = ends if len(ends) == 2 else (None, None)
        if low is None or high is None or not low < high or math.isinf(high - low):
            entry.refuse("must be two numbers, the lower one first")
        else:
            ranges[kind] = low, high
    return ranges


_READERS: Readers = {
    "tuple[str, ...]": _classes,
    "torch.Tensor": _tensor,
    "Mapping[str, torch.Tensor]": _weights,
    "Mapping[str, tuple[float, float]]": _grey_ranges,
}


BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture: each class with its probability, the likeliest first.

    `note` is a sentence where the picture's file had to be mended to be read; `problem` says why
    it cannot be, and then there is no class.
    """

    image: Path
    label: str | None = None
    probabilities: tuple[tuple[str, float], ...] = ()
    note: str | None = None
    problem: str | None = None


def predict(
    path: Path, images: Sequence[Path], device: torch.device, allowed: Collection[str] = ()
) -> list[Prediction]:
    """Classify pictures with the model of a file, in the order given.

    `allowed` are modules whose functions the model may name.

    Raises:
        NotFoundError: no such model file.
        DataError: the file holds no model.
        UsageError: the model is somebody's own, and its module is not allowed, or not here.
    """
    stored = read_model(path)
    require_allowed(path, modules_of(stored.config), allowed)
    try:
        network = load_network(stored, device, allowed)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return classify(network, stored, images, device)


def classify(
    network: nn.Module, model: ModelFile, images: Sequence[Path], device: torch.device
) -> list[Prediction]:
    """Classify pictures with the loaded network of a model, in the order given."""
    config, data = model.config, without_pictures(model, device)
    framing = Framing(config.data.fit, config.data.image_size)
    predictions = []
    for start in range(0, len(images), BATCH):
        read = [_read(image, data, framing) for image in images[start : start + BATCH]]
        pixels = [picture for _, picture in read if picture is not None]
        answers = iter(_ranked(network, config, data, pixels))
        for unclassified, picture in read:
            ranked = () if picture is None else next(answers)
            label = ranked[0][0] if ranked else None
            predictions.append(replace(unclassified, label=label, probabilities=ranked))
    return predictions


def _read(
    image: Path, data: DeviceData, framing: Framing
) -> tuple[Prediction, NDArray[np.uint8] | None]:
    """What is said of a picture's file, and the picture as uint8 (side, side, channels)."""
    try:
        pixels, note = decode(image, data.cache_size, data.channels, framing, data.grey_ranges)
    except (DataError, NotFoundError) as error:
        return Prediction(image, problem=str(error)), None
    return Prediction(image, note=note), pixels


def _ranked(
    model: nn.Module, config: TrainConfig, data: DeviceData, pixels: list[NDArray[np.uint8]]
) -> list[tuple[tuple[str, float], ...]]:
    """The classes of each picture with their probabilities, the likeliest first."""
    if not pixels:
        return []
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(data.mean.device)
    return [
        tuple(sorted(zip(data.classes, row, strict=True), key=lambda pair: pair[1], reverse=True))
        for row in predict_proba(model, config, data, batch).tolist()
    ]


def without_pictures(model: ModelFile, device: torch.device) -> DeviceData:
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
