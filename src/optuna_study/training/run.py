"""A model in training: what it is made of, prepared once, and what is needed to resume it."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict

import torch
from torch import nn

from optuna_study.config.catalogue import FULL_BATCH, augmentation_names
from optuna_study.config.reproducibility import STEPS
from optuna_study.errors import DataError, UsageError
from optuna_study.seeds import stream_seed
from optuna_study.training import device as devices
from optuna_study.training import divergence
from optuna_study.training.augment import augment
from optuna_study.training.backbone.features import (
    Features,
    fit_head,
    new_backbone,
    new_head,
    open_features,
    reads_features,
    with_head,
    zero_head,
)
from optuna_study.training.backbone.folded import fold_frozen_norms
from optuna_study.training.backbone.timm_models import check_training_size, own_scale
from optuna_study.training.backbone.trained_layers import folds_norms, head_parameters
from optuna_study.training.build_model import initialised_model, with_names
from optuna_study.training.device_data import DeviceData, Inputs, to_model_input, view
from optuna_study.training.evaluation import Evaluation, evaluate
from optuna_study.training.optimizers import build_optimizer, restore
from optuna_study.training.recipe.averaging import Average
from optuna_study.training.recipe.best_epoch import METRIC, BestEpoch, BestState, better_of
from optuna_study.training.recipe.plateau import Plateau
from optuna_study.training.recipe.step_losses import StepLosses
from optuna_study.training.recipe.targets import training_loss
from optuna_study.training.steps import kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.config.reasons import Divergence
    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.evaluation import Read
    from optuna_study.training.losses import Loss

STATE_VERSION = 1
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class RunState(TypedDict):
    """What is needed to resume a run after its last whole epoch, in plain values and tensors."""

    version: int
    fingerprint: str
    epoch: int
    ended: bool
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    watch: dict[str, Any]
    best: NotRequired[BestState | None]  # states of earlier versions have none of these
    average: NotRequired[dict[str, torch.Tensor] | None]
    plateau: NotRequired[dict[str, Any]]
    step_losses: NotRequired[dict[str, Any]]
    scaler: NotRequired[dict[str, Any] | None]
    batch_size: NotRequired[int]


class StepObserver(Protocol):
    """Looks on while a run trains, and changes nothing of it."""

    def observe(
        self, run: Run, step: int, lr: float, losses: Sequence[float], norms: Sequence[float]
    ) -> None:
        """The figures of the steps up to `step` of the run that have just been read."""


@dataclass
class Run:
    """A model in training; `epoch` counts the epochs done, `stop` ends it before the next step.

    `metric` is the figure by which epochs are compared.
    `loss`, `augmentations`, `inputs`, `parameters` and `batch_size`, the pictures worked on at
    once, follow from configuration and data and are the same at every step.
    """

    config: TrainConfig
    data: DeviceData
    device: torch.device
    model: nn.Module
    optimizer: torch.optim.Optimizer
    watch: divergence.Watch
    read: Read
    loss: Loss
    augmentations: tuple[str, ...]
    inputs: Inputs | None  # all of them, where nothing changes them and they fit
    features: Features | None  # of the frozen layers, where `model` is the head alone
    parameters: tuple[nn.Parameter, ...]
    batch_size: int
    pictures_per_step: int
    metric: str = METRIC
    epoch: int = 0
    ended: bool = False
    interrupted: bool = False
    validation: Evaluation | None = None
    best: BestEpoch | None = None
    average: Average | None = None
    scaler: torch.amp.GradScaler | None = None
    plateau: Plateau = field(default_factory=Plateau)
    step_losses: StepLosses = field(default_factory=StepLosses)
    stop: threading.Event = field(default_factory=threading.Event)
    observer: StepObserver | None = None
    step_method: str = ""

    @property
    def steps_per_epoch(self) -> int:
        """Updates per epoch: one for each whole batch, or a single one of full-batch descent.

        The pictures left over by whole batches change from epoch to epoch.
        """
        return len(self.data.train_labels) // self.pictures_per_step

    @property
    def way_of_steps(self) -> dict[str, str]:
        """How its steps were taken, as a record has it: one entry, or none."""
        return {STEPS: self.step_method} if self.step_method else {}

    @property
    def finished(self) -> bool:
        """Whether it has trained as long as it should: all epochs, or to the end of patience."""
        settings = self.config.train
        waited = 0 if self.best is None else self.epoch - self.best.epoch
        return self.epoch >= settings.epochs or 0 < settings.patience <= waited

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights it ends with if it ends now."""
        if self.config.train.epoch == "last" or self.best is None:
            return self.epoch
        return self.best.epoch

    @property
    def evaluated(self) -> nn.Module:
        """The model that is evaluated and kept: the average, where there is one."""
        return self.model if self.average is None else self.average.module

    def note_epoch(self, value: float, loss: float) -> None:
        """Take in the epoch just done, its value by the run's metric and its validation loss."""
        settings = self.config.train
        model = self.evaluated if settings.epoch == "best" else None
        self.best = better_of(self.best, self.epoch, self.metric, value, model)
        self.plateau = self.plateau.after(settings, loss)

    def use_kept_weights(self) -> None:
        """Give the model the weights it ends with; training cannot go on from there."""
        moved_on = self.interrupted or self.kept_epoch != self.epoch
        if moved_on and self.best is not None and self.best.weights is not None:
            self.model.load_state_dict(self.best.weights)
            self.validation = None
        elif self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        self.average = None

    def split(self, pictures: torch.Tensor) -> Sequence[torch.Tensor]:
        """The indices of a step's pictures, as many at a time as are worked on at once."""
        if len(pictures) == self.batch_size:
            return (pictures,)
        # Of equal size but for one picture, so that batch norm never meets a single one.
        return pictures.tensor_split(len(pictures) // self.batch_size)

    @property
    def halved(self) -> bool:
        """Whether as many pictures at once as the settings ask for did not fit into memory."""
        return self.batch_size < min(self.config.train.batch_size, len(self.data.train_labels))

    def training_input(self, pictures: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
        """What the model sees of some training pictures, changed at random where asked for."""
        if self.features is not None:
            versions = self.features.training
            return versions[self.epoch % len(versions)].index_select(0, pictures)
        if self.inputs is not None:
            return self.inputs.select(pictures)
        return augment(self.data.fetch(pictures), self.augmentations, self.data, noise)

    @property
    def reads_host(self) -> bool:
        """Whether a step's pictures come from the host, where their indices then stay."""
        return self.data.stays_on_host and self.features is None and self.inputs is None

    def whole_model(self) -> nn.Module:
        """The model that takes pictures, whatever of it was trained here."""
        if self.features is None:
            return self.model
        return with_head(self._backbone, self.model)

    @cached_property
    def _backbone(self) -> nn.Module:
        """The frozen layers, built once for predictions, the saved model and the rest."""
        return new_backbone(self.config, self.data)

    def evaluate(self, images: torch.Tensor, labels: torch.Tensor) -> Evaluation:
        """The figures of `model` on uint8 pictures, or on features, with one read of the device.

        Raises:
            DataError: there are no pictures.
        """
        return evaluate(self.evaluated, self.config, self.data, images, labels, read=self.read)

    @property
    def seen_in_validation(self) -> torch.Tensor:
        """What `model` sees of the validation pictures: uint8 pictures, or their features."""
        return self.features.validation if self.features else self.data.validation_images

    def validate(self) -> Evaluation:
        """The figures on the validation pictures, evaluated once an epoch."""
        if self.validation is None:
            self.validation = self.evaluate(self.seen_in_validation, self.data.validation_labels)
        return self.validation

    def test(self) -> Evaluation:
        """The figures on the held-out test pictures."""
        seen = self.features.test() if self.features else self.data.test_images
        return self.evaluate(seen, self.data.test_labels)

    def state_dict(self) -> RunState:
        """What is needed to resume after the last whole epoch; its tensors change with the model.

        Raises:
            RuntimeError: the run was stopped within an epoch, which no state describes.
        """
        if self.interrupted:
            raise RuntimeError("a run stopped within an epoch has no state to resume from")
        return {
            "version": STATE_VERSION,
            "fingerprint": self.data.fingerprint,
            "epoch": self.epoch,
            "ended": self.ended,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "watch": self.watch.state(),
            "best": None if self.best is None else self.best.state(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "plateau": dataclasses.asdict(self.plateau),
            "step_losses": self.step_losses.state(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "batch_size": self.batch_size,
        }


@dataclass
class Steps:
    """What the steps of an epoch gave, as far as it was read.

    `validation` are figures of the validation pictures that an own objective gives itself.
    """

    losses: list[float]
    norms: list[float]
    correct: float
    lr: float
    divergence: Divergence | None = None
    validation: Mapping[str, float] = field(default_factory=dict)


def prepare(
    config: TrainConfig,
    data: DeviceData,
    device: torch.device,
    *,
    state: RunState | None = None,
    metric: str = METRIC,
    read: Read = devices.read_numbers,
) -> Run:
    """A run at its start, or where `state` left it; sets torch's CPU threads.

    The data is seen as the configuration's own settings want it.

    `metric`, a figure of `EpochResult`, is what epochs are compared by where the settings keep
    the best or have patience. `read` is the one way in which numbers leave the device: once for
    every 32 steps begun, once per evaluation.

    Raises:
        UsageError: a setting that nothing here has, or batch norm with single pictures.
        DataError: the state belongs to other data.
    """
    settings = config.train
    devices.use_threads(settings.threads)
    devices.use_precision(device, settings.precision)
    data = view(data, config.data, own_scale(config))
    kept.release_other(config, data, reads_features=reads_features(config))
    devices.release_memory(device)  # what an earlier run of another shape has left
    if device.type == "cpu":
        devices.keep_freed_pages()
    check_training_size(config)
    features = open_features(config, data) if reads_features(config) else None
    model: nn.Module
    if features is not None:
        model = new_head(config, features.width, len(data.classes))
    else:
        model = initialised_model(
            config.model,
            channels=data.channels,
            image_size=data.image_size,
            classes=len(data.classes),
            seed=stream_seed(settings.seed, "weights"),
        )
    # A module's `to` takes the format of 4-dimensional parameters only by keyword.
    model = model.to(device=device).to(memory_format=data.memory_format)
    if folds_norms(config):
        # By the answers of the head that was drawn: those of one that is zero are always equal.
        fold_frozen_norms(
            model, to_model_input(data.fetch(torch.zeros(1, dtype=torch.int64)), data)
        )
    if features is None and state is None:
        if config.model.head_weights == "zeros":
            zero_head(model)
        if config.model.head_weights == "fitted":
            fit_head(model, config, data)
    pictures = len(data.train_labels)
    batch_size = min(settings.batch_size, pictures)
    if batch_size == 1 and any(isinstance(module, _BATCH_NORMS) for module in model.modules()):
        raise UsageError(
            "batch_size 1: batch norm needs two pictures per step at least; use layer or group"
        )
    names = () if features else augmentation_names(config.data.augmentation)
    per_step = min(batch_size * settings.accumulate, pictures)
    if settings.optimizer in FULL_BATCH:
        per_step = pictures
    counts = [int(n) for n in read(torch.bincount(data.train_labels, minlength=len(data.classes)))]
    run = Run(
        config=config,
        data=data,
        device=device,
        model=model,
        optimizer=build_optimizer(settings, model, head_parameters(config, model)),
        watch=divergence.Watch(divergence.limits(config, counts, pictures // per_step)),
        read=read,
        loss=training_loss(config, counts, device),
        augmentations=names,
        inputs=None if names or features else data.train_inputs,
        features=features,
        parameters=tuple(each for each in model.parameters() if each.requires_grad),
        batch_size=batch_size,
        pictures_per_step=per_step,
        metric=metric,
        scaler=devices.loss_scaler(device, settings.precision),
        average=Average.of(model, settings.ema) if settings.ema else None,
    )
    if state is not None:
        _resume(run, state)
    return run


def _resume(run: Run, state: RunState) -> None:
    """Put a run at its start where `state` left another one."""
    if state.get("version") != STATE_VERSION or state["fingerprint"] != run.data.fingerprint:
        raise DataError(
            "checkpoint: it belongs to other pictures or another version; delete it to start anew"
        )
    best = state.get("best")
    if best is not None:
        weights = best["weights"]
        if weights is not None:
            named = with_names(weights, run.model)
            run.model.load_state_dict(named)  # what does not fit is found now, not at the end
            weights = {name: each.to(run.device) for name, each in named.items()}
        run.best = BestEpoch(best["epoch"], best["value"], weights)
    run.model.load_state_dict(with_names(state["model"], run.model))
    restore(run.optimizer, state["optimizer"])
    run.watch = run.watch.restore(state["watch"])
    run.epoch, run.ended = state["epoch"], state["ended"]
    average = state.get("average")
    if run.average is not None and average is not None:
        run.average.module.load_state_dict(with_names(average, run.model))
    run.plateau = Plateau(**state.get("plateau", {}))
    losses = state.get("step_losses")
    unknown = StepLosses(before=run.epoch * run.steps_per_epoch)
    run.step_losses = unknown if losses is None else StepLosses.restored(losses)
    run.batch_size = state.get("batch_size", run.batch_size)
    scaler = state.get("scaler")
    if run.scaler is not None and scaler is not None:
        run.scaler.load_state_dict(scaler)
