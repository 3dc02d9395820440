"""What a frozen backbone makes of the pictures: computed once, then shared by all processes.

Where only the head learns, everything below it gives the same features of a picture at every
step. They are kept in the workspace's cache, an array for each part of the data and each version
of its pictures, memory-mapped. Every picture passes through the network in a batch of the same
size, on one thread: the features are equal to the last bit however many cores compute them.

Measured on two quiet cores of an AMD EPYC (torch 2.14, tf_efficientnet_lite0, 512 pictures of 128
pixels, batches of 16): one thread for each of two batches 2.7 s, two threads for each batch 4.6 s,
one core 6.7 s. On a Xeon (Sapphire Rapids), CPU time of a picture of 160 pixels: 22.7 ms as the
network is built, 20.2 with its batch norms folded, 17.3 with the channels innermost, 12.9 with
both; batches of 8 to 32 differ by less than a sixth.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from optuna_study.config.catalogue import augmentation_names, is_reference, starts_pretrained
from optuna_study.data.cache import (
    ABOUT,
    FEATURES,
    check_features,
    checksum,
    read_or_write,
    written_entry,
)
from optuna_study.errors import UsageError
from optuna_study.seeds import stream_seed
from optuna_study.training.augment import augment
from optuna_study.training.backbone.folded import fold_batch_norms
from optuna_study.training.backbone.timm_models import own_scale
from optuna_study.training.backbone.trained_layers import find_head
from optuna_study.training.build_model import initialised_model
from optuna_study.training.device import all_cores
from optuna_study.training.device_data import to_model_input, view
from optuna_study.training.pretrained import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

    Told = Callable[[int, int], None]
    """Gets the number of pictures done, and of all."""

FEATURES_VERSION = 2
"""Part of every key; a change to how features are computed raises it."""

BATCH = 16


@dataclass(frozen=True)
class Features:
    """A backbone's features, float32 (N, width): a tensor for each version of the training set.

    Those of the test pictures are computed when they are asked for.
    """

    training: tuple[torch.Tensor, ...]
    validation: torch.Tensor
    test: Callable[[], torch.Tensor]

    @property
    def width(self) -> int:
        """Features of a picture."""
        return self.validation.shape[1]


def reads_features(config: TrainConfig) -> bool:
    """Whether a run trains a head on features: nothing else of the model learns or is random."""
    model, train = config.model, config.train
    return (
        model.train_layers == "head"
        and starts_pretrained(model.name, model.pretrained)
        and not is_reference(model.name)
        and not is_reference(train.objective)
        and config.data.evaluation == "centre"
    )


def open_features(config: TrainConfig, data: DeviceData, told: Told | None = None) -> Features:
    """The features of a configuration's pictures, from the cache or computed into it.

    Raises:
        UsageError: the weights are not here, or the model has no head of its own.
        DataError: weights that cannot be read.
        FolderError: the workspace cannot be written.
        DiskFullError: no space left in it.
    """
    layout = torch.contiguous_format if data.device.type == "cuda" else torch.channels_last
    data = replace(view(data, config.data, own_scale(config)), memory_format=layout)
    names = augmentation_names(config.data.augmentation)
    versions = config.data.views if names else 1
    network = _Network(config, data)
    whole = versions * len(data.train_images) + len(data.validation_images)
    done = 0

    def counted(count: int) -> None:
        nonlocal done
        done += count
        if told is not None:
            told(done, whole)

    def part(name: str, images: torch.Tensor, version: int = 0) -> torch.Tensor:
        drawn = names if version else ()
        return _kept(network, name, images, version, drawn, counted).to(data.device)

    return Features(
        training=tuple(
            part("training", data.train_images, version) for version in range(versions)
        ),
        validation=part("validation", data.validation_images),
        test=lambda: part("test", data.test_images),
    )


NEAREST = 5
ROWS = 256  # pictures compared with all training pictures at once


def nearest_neighbours(features: Features, data: DeviceData) -> float:
    """The accuracy on the validation pictures of their nearest training pictures' classes.

    The NEAREST by the cosine between features, each of which votes with it: what the features tell
    without any training. The data is that of the features.
    """
    known = torch.nn.functional.normalize(features.training[0])
    asked = torch.nn.functional.normalize(features.validation)
    votes = []
    for rows in torch.split(asked, ROWS):
        nearness, places = (rows @ known.T).topk(min(NEAREST, len(known)))
        classes = data.train_labels[places]
        votes.append(
            nearness.new_zeros(len(rows), len(data.classes)).scatter_add_(1, classes, nearness)
        )
    right = torch.cat(votes).argmax(dim=1) == data.validation_labels
    return right.double().mean().item()


FITTED_DECAY = 1e-3  # of the squared weights' sum, beside the mean cross entropy


def fits_head(config: TrainConfig) -> bool:
    """Whether a run's head begins with weights that are fitted to features."""
    model = config.model
    return model.head_weights == "fitted" and starts_pretrained(model.name, model.pretrained)


def fitting(config: TrainConfig) -> TrainConfig:
    """The configuration as `fit_head` wants its pictures: each as it is, and no other version."""
    return replace(config, data=replace(config.data, views=1))


def fit_head(model: nn.Module, config: TrainConfig, data: DeviceData) -> None:
    """Give a pretrained model's head the weights of a logistic regression on its features.

    Fitted by L-BFGS on all training pictures as they are, from zero.

    Raises:
        UsageError: as `open_features`.
    """
    known = open_features(fitting(config), data).training[0]
    fitted = nn.Linear(known.shape[1], len(data.classes), device=known.device)
    zero_head(fitted)
    optimizer = torch.optim.LBFGS(fitted.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = nn.functional.cross_entropy(fitted(known), data.train_labels)
        error = error + FITTED_DECAY * fitted.weight.square().sum()
        torch.autograd.backward(error)
        return error

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    find_head(model).load_state_dict(fitted.state_dict())


def zero_head(model: nn.Module) -> None:
    """Let a model's head, or a head itself, begin with zeros.

    Raises:
        UsageError: the model has no single head.
    """
    head = model if isinstance(model, nn.Linear) else find_head(model)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)


def new_head(config: TrainConfig, width: int, classes: int) -> nn.Sequential:
    """What is trained on features: dropout and a dense layer, which begins at zero."""
    head = nn.Linear(width, classes)
    zero_head(head)
    return nn.Sequential(nn.Dropout(config.model.dropout), head)


def with_head(backbone: nn.Module, head: nn.Module) -> nn.Module:
    """A backbone that takes pictures, whose head from now on is one trained on features."""
    assert isinstance(head, nn.Sequential)
    find_head(backbone).load_state_dict(head[-1].state_dict())
    return backbone


def new_backbone(config: TrainConfig, data: DeviceData) -> nn.Module:
    """The whole model on the data's device, ready to be asked; its head is still drawn."""
    model = initialised_model(
        config.model,
        channels=data.channels,
        image_size=data.image_size,
        classes=len(data.classes),
        seed=config.train.seed,
    )
    return model.to(data.device).eval()


class _Network:
    """A backbone that is built when features have to be computed."""

    def __init__(self, config: TrainConfig, data: DeviceData) -> None:
        self.config = config
        self.data = data

    def key(self, part: str, count: int, version: int, names: tuple[str, ...]) -> str:
        """What the features follow from."""
        facts = {**self._facts, "part": [part, count, version, names]}
        if "resized_crop" in names:
            facts["training_size"] = self.data.training_size
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    @cached_property
    def _facts(self) -> dict[str, Any]:
        config, data = self.config, self.data
        return {
            "version": FEATURES_VERSION,
            "torch": str(torch.__version__),
            "device": data.device.type,
            "model": config.model.name,
            "variant": dataclasses.asdict(
                replace(
                    config.model,
                    dropout=0.0,
                    pretrained="",
                    train_layers="",
                    head_weights="",
                    norm_statistics="",
                )
            ),
            "weights": weights_digest(config.model),
            "pictures": data.fingerprint,
            "sizes": [data.image_size, data.cache_size, config.data.fit, config.data.pixels],
            "scale": [data.mean.tolist(), data.std.tolist()],
        }

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """The features (B, width) of a model's input."""
        with torch.inference_mode():
            return torch.as_tensor(self.below(inputs))

    @cached_property
    def below(self) -> nn.Module:
        """The model without its head, shown that nothing stands between it and the features.

        Raises:
            UsageError: the head alone does not give the model's answers.
        """
        config, data = self.config, self.data
        model = new_backbone(config, data).to(memory_format=data.memory_format)
        head = find_head(model)
        picture = to_model_input(data.train_images[:1], data)
        with torch.inference_mode():
            answer = model(picture)
        name = next(name for name, module in model.named_modules() if module is head)
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, nn.Identity())
        with torch.inference_mode():
            features = model(picture)
            fits = features.shape == (1, head.in_features)
            fits = fits and torch.allclose(head(features), answer, atol=1e-4)
        if fits:
            return fold_batch_norms(model, picture)
        asked, instead = "train_layers 'head'", 'train_layers = "last_stage"'
        if config.model.train_layers != "head":
            asked, instead = "head_weights 'fitted'", 'head_weights = "drawn"'
        raise UsageError(
            f"{asked}: the answers of {config.model.name} do not follow from its last layer "
            f"alone; set {instead}"
        )


def _kept(
    network: _Network,
    part: str,
    images: torch.Tensor,
    version: int,
    names: tuple[str, ...],
    counted: Callable[[int], None],
) -> torch.Tensor:
    """Features from the cache, computed first where they are not there or are damaged."""
    workspace = network.data.workspace
    if workspace is None:
        return torch.cat(list(_computed(network, images, version, names, counted)))
    computed = False

    def compute(folder: Path) -> None:
        nonlocal computed
        computed = True
        _write(folder, torch.cat(list(_computed(network, images, version, names, counted))))

    key = f"features-{network.key(part, len(images), version, names)}"
    found = read_or_write(workspace.cache(key), workspace, _read, compute)
    if not computed:
        counted(len(images))
    return torch.from_numpy(found)


def _computed(
    network: _Network,
    images: torch.Tensor,
    version: int,
    names: tuple[str, ...],
    counted: Callable[[int], None],
) -> Iterator[torch.Tensor]:
    """The features of pictures, a batch at a time, each on one thread of a CPU."""
    data = network.data
    network.below  # noqa: B018 - built once, before threads ask for it

    def batch(start: int) -> torch.Tensor:
        pictures = images[start : start + BATCH]
        if names:
            seed = stream_seed(stream_seed(0, "views", version), "batch", start)
            generator = torch.Generator(data.device).manual_seed(seed)
            return network.features(augment(pictures, names, data, generator))
        return network.features(to_model_input(pictures, data))

    starts = range(0, len(images), BATCH)
    threads = torch.get_num_threads()
    workers = 1 if data.device.type == "cuda" else all_cores()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for features in pool.map(batch, starts):
                counted(len(features))
                yield features
    finally:
        torch.set_num_threads(threads)


def _read(folder: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The array of an entry.

    Raises:
        DamagedEntryError: it is not there, or not as it was written.
    """
    check_features(folder)
    # Copy on write: torch wants writable memory, and yet nobody can change the file.
    found: np.ndarray[Any, np.dtype[np.float32]] = np.load(folder / FEATURES, mmap_mode="c")
    return found


def _write(folder: Path, features: torch.Tensor) -> None:
    with written_entry(folder) as beside:
        np.save(beside / FEATURES, features.cpu().numpy())
        about = {"checksum": checksum(beside / FEATURES)}
        (beside / ABOUT).write_text(json.dumps(about), encoding="utf-8")
