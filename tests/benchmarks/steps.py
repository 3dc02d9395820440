"""Steps of the studies' own nets beside P1's of the same nets, each side in a process of its own.

What one side asks of its process, such as to keep freed pages, is then no gift to the other. P1's
net has torch's own local response norm, and the pictures in memory as the study has them. One of
the rows of suite.py.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from plain_loops import p1_step
from profiles import pictures
from sides import Sides, note
from stand import load
from torch import nn

from optuna_study.config.settings import with_settings
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.paths import Workspace
from optuna_study.seeds import stream_seed
from optuna_study.training import layers, loop
from optuna_study.training.build_model import initialised_model
from optuna_study.training.device_data import DeviceData, load_data, to_model_input, view
from optuna_study.training.steps.stepper import stepper_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna_study.config.settings import TrainConfig, TrainSettings

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
WINDOW = 0.3  # CPU seconds of whole epochs, at least, for each look at a side
LOOKS = 6  # at each side by turns, of which the quickest is its figure in a round
LONGEST = 8.0  # seconds of a round, after which no further look begins
SMALL = {"picture_limit": 64}  # pictures enough: a step takes no less time for more
STEPS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "fully connected, 64 pictures": ("mnist_fc", {"batch_size": 64}),
    "fully connected, 1 picture": ("mnist_fc", {"batch_size": 1, "picture_limit": 1500}),
    "spiral": ("spiral", {}),
    "LeNet": ("lenet_cifar10", {}),
    "mnist_cnn": ("mnist_cnn", {}),
    "AlexNet, 8 pictures": ("alexnet_pokemon", {"batch_size": 8}),
    "AlexNet, 32 pictures": ("alexnet_pokemon", {"batch_size": 32}),
    "AlexNet, 8 of 227 pixels": ("alexnet_pokemon:full", {"batch_size": 8, **SMALL}),
    "AlexNet, 32 of 227 pixels": ("alexnet_pokemon:full", {"batch_size": 32, **SMALL}),
}


class Side:
    """One side of a net in a process of its own, which has its pictures and its net ready."""

    def __init__(self, name: str, what: str, folder: Path | None) -> None:
        self._process = ProcessPoolExecutor(
            1, get_context("spawn"), get_ready, (name, what, folder)
        )

    def look(self) -> float:
        """CPU milliseconds a step, in one window."""
        return self._process.submit(measure).result()

    def close(self) -> None:
        """End the process."""
        self._process.shutdown()


def alternate_looks(sides: Mapping[str, Side], rounds: int, what: str) -> Sides:
    """Each side's figure in each round.

    A core that is shared with other machines is at times half as quick, for seconds: of one look a
    round each, five made ratios of 0.8 to 1.4 of the same code.
    """
    found: Sides = {name: [] for name in sides}
    for turn in range(rounds):
        looks: Sides = {name: [] for name in sides}
        began = time.perf_counter()
        while len(looks["ours"]) < LOOKS and time.perf_counter() - began < LONGEST:
            for name in list(sides) if turn % 2 == 0 else list(sides)[::-1]:
                looks[name].append(sides[name].look())
        for name, taken in looks.items():
            found[name].append(min(taken))
        note(row=what, **{name: round(taken[-1], 4) for name, taken in found.items()}, load=load())
    return found


def get_ready(name: str, what: str, folder: Path | None) -> None:
    """Keep one side's epoch, after one to warm up."""
    epoch = SIDES[name](*open_net(what, folder))
    epoch()
    globals()["_epoch"] = epoch


def measure() -> float:
    """CPU milliseconds a step of the process's side."""
    epoch: Callable[[], int] = globals()["_epoch"]
    began, steps = time.process_time(), 0
    while time.process_time() - began < WINDOW:
        steps += epoch()
    return 1000 * (time.process_time() - began) / steps


def open_net(what: str, folder: Path | None) -> tuple[TrainConfig, DeviceData]:
    """The configuration of one of `STEPS`, and its pictures as it sees them."""
    study, changes = STEPS[what]
    study, _, profile = study.partition(":")
    config = resolve(read_study_file(ROOT / f"studies/{study}.toml"), profile or "cpu").config
    given = None if profile else pictures(config.data.name, folder)
    config = with_settings(
        config, {"epochs": 10**6, "threads": 1, "augmentation": "none", **changes}
    )
    if not given and config.data.name != "spiral":
        config = replace(config, data=replace(config.data, name="rendered"))
    workspace = Workspace(Path(tempfile.mkdtemp()))
    data = load_data(config.data, given, workspace, CPU, config.train.memory_format)
    torch.set_num_threads(1)
    return config, view(data, config.data)


def our_epoch(config: TrainConfig, data: DeviceData) -> Callable[[], int]:
    """An epoch of ours, which gives its number of steps."""
    run = loop.prepare(config, data, CPU)
    stepper = stepper_of(run)

    def epoch() -> int:
        trained = loop.train_epoch(run, 1, stepper)
        assert trained is not None
        return len(trained.losses)

    return epoch


def plain_epoch(config: TrainConfig, data: DeviceData) -> Callable[[], int]:
    """An epoch of P1's."""
    model = plain_net(
        config, channels=data.channels, image_size=data.image_size, classes=len(data.classes)
    ).to(memory_format=data.memory_format)
    images, labels = to_model_input(data.train_images, data), data.train_labels
    size = min(config.train.batch_size, len(labels))
    optimizer = plain_optimizer(config.train, model)

    def epoch() -> int:
        model.train()
        batches = torch.randperm(len(labels))[: len(labels) // size * size].view(-1, size)
        for batch in batches.unbind():
            p1_step(model, optimizer, images[batch], labels[batch])
        return len(batches)

    return epoch


SIDES = {"ours": our_epoch, "P1": plain_epoch}


def plain_net(config: TrainConfig, *, channels: int, image_size: int, classes: int) -> nn.Module:
    """The configuration's net with torch's own local response norm in the place of ours."""
    model: nn.Module = initialised_model(
        config.model,
        channels=channels,
        image_size=image_size,
        classes=classes,
        seed=stream_seed(config.train.seed, "weights"),
    )
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, layers.LocalResponseNorm):
                setattr(parent, name, nn.LocalResponseNorm(child.size, child.alpha, 0.75, child.k))
    return model


def plain_optimizer(settings: TrainSettings, model: nn.Module) -> torch.optim.Optimizer:
    """Torch's own, in its fused form."""
    if settings.optimizer in ("sgd", "momentum"):
        momentum = settings.momentum if settings.optimizer == "momentum" else 0.0
        return torch.optim.SGD(model.parameters(), settings.lr, momentum, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), settings.lr, fused=True)
    raise SystemExit(f"no plain optimizer beside {settings.optimizer}")
