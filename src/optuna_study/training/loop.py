"""The training loop: one configuration in, one result per epoch out.

Everything random in an epoch (order, augmentation, dropout) follows from the seed and the epoch's
number, so a checkpoint needs no generator states and a run resumed in another process, or on
another device, goes on as if it had not stopped.

Measured on 747 real pictures of five classes, 64 px, width 0.25, LRN, he, plain SGD at 0.01, batch
8, 12 epochs, one thread of a busy two-core AMD EPYC (AVX-512), torch 2.14: 1.6 s of CPU time per
epoch, 90 % of 186 validation pictures right (one run). Convolutions, products, pools, activations
and the update take four fifths of the time.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from optuna_study.config.catalogue import FULL_BATCH, augmentation_names, is_reference
from optuna_study.config.schedule import lr_at
from optuna_study.config.settings import Divergence, EpochResult, TrainConfig
from optuna_study.errors import DataError, UsageError
from optuna_study.seeds import stream_seed
from optuna_study.training import custom_objective, divergence, losses
from optuna_study.training import device as devices
from optuna_study.training.augment import augment
from optuna_study.training.build_model import initialised_model
from optuna_study.training.chance import chance_loss
from optuna_study.training.device_data import DeviceData, view
from optuna_study.training.optimizers import build_optimizer, restore, set_lr
from optuna_study.training.run import STATE_VERSION, Run, evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optuna_study.training.evaluation import Read


def prepare(
    config: TrainConfig,
    data: DeviceData,
    device: torch.device,
    *,
    state: Mapping[str, Any] | None = None,
    read: Read = devices.read_numbers,
) -> Run:
    """A run at its start, or where `state` left it; sets torch's CPU threads.

    The data is seen as the configuration's own settings want it.

    `read` is the one way in which numbers leave the device: once for every 32 steps begun, once
    per evaluation.

    Raises:
        UsageError: a setting that nothing here has, or batch norm with single pictures.
        DataError: the state belongs to other data.
    """
    settings = config.train
    devices.use_threads(settings.threads)
    data = view(data, config.data)
    model = initialised_model(
        config.model,
        channels=data.channels,
        image_size=data.image_size,
        classes=len(data.classes),
        seed=stream_seed(settings.seed, "weights"),
    )
    # A module's `to` takes the format of 4-dimensional parameters only by keyword.
    model = model.to(device=device).to(memory_format=data.memory_format)
    run = Run(
        config=config,
        data=data,
        device=device,
        model=model,
        optimizer=build_optimizer(settings, model),
        watch=divergence.Watch(_limits(config, data, read)),
        read=read,
    )
    if run.batch_size == 1 and any(isinstance(m, _BATCH_NORMS) for m in model.modules()):
        raise UsageError(
            "batch_size 1: batch norm needs two pictures per step at least; use layer or group"
        )
    if state is not None:
        _restore(run, state)
    return run


def epochs(run: Run) -> Iterator[EpochResult]:
    """Train and yield one result per epoch, to the last one, a divergence or a stop.

    A divergence is carried by the last result. A run that is stopped returns at once, without the
    broken epoch.
    """
    while not run.ended and run.epoch < run.config.train.epochs:
        result = _epoch(run)
        if result is None:
            return
        yield result


@dataclass
class _Figures:
    """What the steps of an epoch gave, read so far."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    correct: float = 0.0
    lr: float = math.nan
    divergence: Divergence | None = None
    validation: Mapping[str, float] = field(default_factory=dict)  # told by an own objective


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _epoch(run: Run) -> EpochResult | None:
    """Train and validate for one epoch; None when the run was stopped within it."""
    start = time.perf_counter()
    epoch = run.epoch + 1
    run.validation = None
    own_objective = is_reference(run.config.train.objective)
    figures = _train_by_objective(run, epoch) if own_objective else _train(run, epoch)
    if figures is None:
        run.interrupted = True
        return None
    pictures = max(len(figures.losses) * run.pictures_per_step, 1)
    train_loss = sum(figures.losses) / len(figures.losses)
    train_accuracy = figures.correct / pictures
    validation_loss = validation_accuracy = math.nan
    found = figures.divergence
    if found is None:
        validation_loss, validation_accuracy = _validate(run, figures.validation)
        found = run.watch.epoch(
            epoch,
            epoch * run.steps_per_epoch,
            divergence.Figures(train_loss, train_accuracy, pictures),
            divergence.Figures(
                validation_loss, validation_accuracy, len(run.data.validation_labels)
            ),
        )
    run.epoch, run.ended = epoch, found is not None
    return EpochResult(
        epoch=epoch,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        lr=figures.lr,
        gradient_norm=sum(figures.norms) / len(figures.norms),
        seconds=time.perf_counter() - start,
        divergence=found,
    )


def _validate(run: Run, told: Mapping[str, float]) -> tuple[float, float]:
    """Loss and accuracy on the validation pictures, but for what an objective has told."""
    if custom_objective.VALIDATION[0] in told and custom_objective.VALIDATION[1] in told:
        return told[custom_objective.VALIDATION[0]], told[custom_objective.VALIDATION[1]]
    data = run.data
    run.validation = evaluate(run, data.validation_images, data.validation_labels)
    ours = {"validation_loss": run.validation.loss, "validation_accuracy": run.validation.accuracy}
    found = {**ours, **told}
    return found["validation_loss"], found["validation_accuracy"]


def _train_by_objective(run: Run, epoch: int) -> _Figures | None:
    """An epoch by somebody's own function; its figures count as those of a single step."""
    figures, steps = _Figures(), run.steps_per_epoch
    _set_lr(run, figures, (epoch - 1) * steps)
    run.model.train()
    seed = stream_seed(run.config.train.seed, "objective", epoch)
    with devices.random_stream(run.device, seed):
        told = custom_objective.train_epoch(run, epoch)
    if told is None:
        return None
    loss, norm = told["train_loss"], told["gradient_norm"]
    figures.losses, figures.norms = [loss], [norm]
    figures.correct = told["train_accuracy"] * run.pictures_per_step
    figures.lr = told.get("lr", figures.lr)
    figures.validation = {name: told[name] for name in custom_objective.VALIDATION if name in told}
    watched = 0.0 if math.isnan(norm) else norm  # a norm that is not told is no divergence
    figures.divergence = run.watch.steps(epoch, epoch * steps, figures.lr, [loss], [watched])
    return figures


def _train(run: Run, epoch: int) -> _Figures | None:
    """The steps of an epoch; ends early at a divergence, None when stopped."""
    seed, steps, size = run.config.train.seed, run.steps_per_epoch, run.pictures_per_step
    once = run.config.train.shuffle == "once"
    order = _order(len(run.data.train_labels), stream_seed(seed, "order", 1 if once else epoch))
    batches = order[: steps * size].view(steps, size).to(run.device)
    noise = torch.Generator(run.device).manual_seed(stream_seed(seed, "augmentation", epoch))
    # Loss, gradient norm and right answers of the steps since the last look, on the device.
    seen = torch.zeros(3, divergence.CHUNK, device=run.device)
    figures = _Figures()
    run.model.train()
    with devices.random_stream(run.device, stream_seed(seed, "dropout", epoch)):
        for index in range(steps):
            if run.stop.is_set():
                return None
            _set_lr(run, figures, (epoch - 1) * steps + index)
            place = index % divergence.CHUNK
            seen[:, place] = _step(run, batches[index], noise)
            if place == divergence.CHUNK - 1 or index == steps - 1:
                _look(run, figures, epoch, seen[:, : place + 1])
                if figures.divergence is not None:
                    break
    return figures


def _step(run: Run, pictures: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """One update; loss, gradient norm and right answers, three numbers that stay on the device.

    More pictures than a batch holds are worked on one batch at a time; their gradients add up to
    that of the mean over all of them.
    """
    run.optimizer.zero_grad(set_to_none=True)
    # Of equal size but for one picture, so that batch norm never meets a single one.
    batches = pictures.tensor_split(len(pictures) // run.batch_size)
    parts = [_descend(run, batch, noise, len(pictures)) for batch in batches]
    loss, correct = parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)
    gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    run.optimizer.step()
    return torch.stack((loss, norm, correct))


def _descend(run: Run, batch: torch.Tensor, noise: torch.Generator, step: int) -> torch.Tensor:
    """Add a batch's gradient; its part of the mean loss over a `step`, and its right answers."""
    config, data = run.config, run.data
    images = augment(
        data.train_images[batch], augmentation_names(config.data.augmentation), data, noise
    )
    labels = data.train_labels[batch]
    logits = run.model(images)
    loss = losses.get_loss(config)(logits, labels)
    if len(batch) < step:
        loss = loss * (len(batch) / step)
    torch.autograd.backward(loss)
    correct = (logits.detach().argmax(dim=1) == labels).sum()
    return torch.stack((loss.detach(), correct.to(loss.dtype)))


def _look(run: Run, figures: _Figures, epoch: int, seen: torch.Tensor) -> None:
    """Read the steps since the last look, and let the watch judge them."""
    count = seen.shape[1]
    numbers = run.read(seen.flatten())
    chunk, norms = numbers[:count], numbers[count : 2 * count]
    first = (epoch - 1) * run.steps_per_epoch + len(figures.losses) + 1
    figures.divergence = run.watch.steps(epoch, first, figures.lr, chunk, norms)
    figures.losses += chunk
    figures.norms += norms
    figures.correct += sum(numbers[2 * count :])


def _set_lr(run: Run, figures: _Figures, step: int) -> None:
    lr = lr_at(run.config.train, step, run.steps_per_epoch)
    if lr != figures.lr:
        set_lr(run.optimizer, lr)
        figures.lr = lr


def _order(count: int, seed: int) -> torch.Tensor:
    """A permutation drawn on the CPU, so that it is the same whatever the device."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _limits(config: TrainConfig, data: DeviceData, read: Read) -> divergence.Limits:
    """What guessing gives on the training pictures, and how long the run is."""
    settings, pictures = config.train, len(data.train_labels)
    counts = [int(n) for n in read(torch.bincount(data.train_labels, minlength=len(data.classes)))]
    guessing = divergence.Guessing(
        loss=chance_loss(settings.loss, counts), accuracy=max(counts) / pictures
    )
    size = pictures if settings.optimizer in FULL_BATCH else min(settings.batch_size, pictures)
    return divergence.Limits(
        guessing,
        epochs=settings.epochs,
        steps_per_epoch=pictures // size,
        warmup_epochs=settings.warmup_epochs,
        own_objective=is_reference(settings.objective),
    )


def _restore(run: Run, state: Mapping[str, Any]) -> None:
    if state.get("version") != STATE_VERSION or state["fingerprint"] != run.data.fingerprint:
        raise DataError(
            "checkpoint: it belongs to other pictures or another version; delete it to start anew"
        )
    run.model.load_state_dict(state["model"])
    restore(run.optimizer, state["optimizer"])
    run.watch = run.watch.restored(state["watch"])
    run.epoch, run.ended = state["epoch"], state["ended"]
