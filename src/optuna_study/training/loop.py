"""The training loop: one configuration in, one result per epoch out.

Everything random in an epoch (order, augmentation, dropout) follows from the seed and the epoch's
number, so a checkpoint needs no generator states and a run resumed in another process, or on
another device, continues as if it had not stopped.

Measured on 747 real pictures of five classes, 64 px, width 0.25, LRN, he, plain SGD at 0.01, batch
8, 12 epochs, one thread of a busy two-core AMD EPYC (AVX-512), torch 2.14: 1.6 s of CPU time per
epoch, 90 % of 186 validation pictures right (one run). Convolutions, products, pools, activations
and the update take four fifths of the time.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

import torch
from torch.nn.utils import clip_grads_with_norm_

from optuna_study.config.catalogue import is_reference
from optuna_study.config.epoch import EpochResult
from optuna_study.config.schedule import lr_at
from optuna_study.config.training_errors import is_out_of_memory
from optuna_study.seeds import stream_seed
from optuna_study.text import in_one_line
from optuna_study.training import custom_objective, divergence
from optuna_study.training import device as devices
from optuna_study.training.device import random_stream
from optuna_study.training.optimizers import set_lr
from optuna_study.training.recipe.mixing import Mixer, mixer_of
from optuna_study.training.run import Run, Steps, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Figures = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

__all__ = ["Run", "epochs", "prepare"]

log = logging.getLogger(__name__)

SMALLEST_HALVED = 4
"""Batch norm needs two pictures at once."""


def epochs(run: Run) -> Iterator[EpochResult]:
    """Train and yield one result per epoch, to the last one, the end of patience or a stop.

    A divergence is carried by the last result. A run that is stopped returns at once, without the
    broken epoch.
    """
    settings, held_out = run.config.train, len(run.data.validation_labels)
    train = custom_objective.train_epoch if is_reference(settings.objective) else train_epoch
    while not (run.ended or run.finished):
        began, epoch = time.perf_counter(), run.epoch + 1
        run.validation = None
        steps = train(run, epoch)
        if steps is None:
            run.interrupted = True
            return
        if train is train_epoch:  # an own objective gives one figure an epoch
            run.step_losses.add(steps.losses)
        pictures = max(len(steps.losses) * run.pictures_per_step, 1)
        training = divergence.Figures(
            sum(steps.losses) / len(steps.losses), steps.correct / pictures, pictures
        )
        validation = divergence.Figures(math.nan, math.nan, held_out)
        figures: Mapping[str, float] = dict.fromkeys(custom_objective.VALIDATION, math.nan)
        diverged = steps.divergence
        if diverged is None:
            figures = _validate(run, steps)
            validation = divergence.Figures(
                figures["validation_loss"],
                figures["validation_accuracy"],
                held_out,
                figures.get("balanced_accuracy", math.nan),
                figures.get("log_loss", math.nan),
            )
            last = epoch * run.steps_per_epoch
            diverged = run.watch.epoch(epoch, last, training, validation)
        run.epoch, run.ended = epoch, diverged is not None
        run.note_epoch(figures[run.metric], validation.loss)
        yield EpochResult(
            epoch=epoch,
            train_loss=training.loss,
            train_accuracy=training.accuracy,
            lr=steps.lr,
            gradient_norm=sum(steps.norms) / len(steps.norms),
            seconds=time.perf_counter() - began,
            divergence=diverged,
            **figures,
        )


def train_epoch(run: Run, epoch: int) -> Steps | None:
    """The steps of an epoch; ends early at a divergence, None when stopped."""
    settings, count, size = run.config.train, run.steps_per_epoch, run.pictures_per_step
    order_seed = stream_seed(settings.seed, "order", 1 if settings.shuffle == "once" else epoch)
    # Drawn on the CPU, so that it is the same whatever the device.
    order = torch.randperm(
        len(run.data.train_labels), generator=torch.Generator().manual_seed(order_seed)
    )
    batches = order[: count * size].view(count, size)
    if not run.reads_host:
        batches = batches.to(run.device)
    noise = torch.Generator(run.device).manual_seed(
        stream_seed(settings.seed, "augmentation", epoch)
    )
    mixer = mixer_of(settings, epoch)
    steps, first = Steps([], [], 0.0, math.nan), (epoch - 1) * count
    figures: list[Figures] = []  # of the steps since the last read, on the device
    if not run.model.training:
        run.model.train()
    with random_stream(run.device, stream_seed(settings.seed, "dropout", epoch)):
        for index, pictures in enumerate(batches.unbind()):
            if run.stop.is_set():
                return None
            lr = lr_at(settings, first + index, count) * run.plateau.factor
            if lr != steps.lr:
                set_lr(run.optimizer, lr)
                steps.lr = lr
            figures.append(step(run, pictures, noise, mixer))
            if run.average is not None:
                run.average.update(first + index + 1)
            if len(figures) < divergence.CHUNK and index < count - 1:
                continue
            losses, norms, correct = _read(run, figures)
            figures = []
            steps.divergence = run.watch.steps(
                epoch, first + len(steps.losses) + 1, lr, losses, norms
            )
            steps.losses += losses
            steps.norms += norms
            steps.correct += sum(correct)
            if run.observer is not None:
                with random_stream(run.device, 0):  # whatever it draws, the run's numbers stay
                    run.observer.observe(run, first + len(steps.losses), lr, losses, norms)
            if steps.divergence is not None:
                break
    return steps


def step(
    run: Run, pictures: torch.Tensor, noise: torch.Generator, mixer: Mixer | None = None
) -> Figures:
    """One update; loss, gradient norm and right answers, three numbers that stay on the device.

    More pictures than a batch holds are worked on one batch at a time; their gradients add up to
    that of the mean over all of them. A batch for which memory does not suffice is halved, once
    in a run.
    """
    settings = run.config.train
    parts = _accumulate_within_memory(run, pictures, noise, mixer)
    loss, correct = parts[0] if len(parts) == 1 else _total(parts)
    if run.scaler is not None:
        run.scaler.unscale_(run.optimizer)
    gradients = [p.grad for p in run.parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if settings.gradient_clip:
        clip_grads_with_norm_(run.parameters, settings.gradient_clip, norm)
    if run.scaler is None:
        run.optimizer.step()
        return loss, norm, correct
    run.scaler.step(run.optimizer)
    run.scaler.update()
    # A gradient beyond half precision's range makes the scaler skip the step: no divergence.
    return loss, torch.where(norm.isfinite(), norm, 0.0), correct


def _accumulate_within_memory(
    run: Run, pictures: torch.Tensor, noise: torch.Generator, mixer: Mixer | None
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    try:
        return _accumulate(run, pictures, noise, mixer)
    except Exception as error:
        if run.halved or run.batch_size < SMALLEST_HALVED or not is_out_of_memory(error):
            raise
        said = in_one_line(error)
    # Out of the handler no frame holds the tensors of the failed step any more.
    run.batch_size //= 2
    devices.release_memory(run.device)
    log.warning(
        "out of memory: %s; goes on with %d pictures at once and as many a step as before",
        said,
        run.batch_size,
    )
    return _accumulate(run, pictures, noise, mixer)


def _accumulate(
    run: Run, pictures: torch.Tensor, noise: torch.Generator, mixer: Mixer | None
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Leave the gradients of a step in the parameters; loss and right answers of each batch."""
    for parameter in run.parameters:
        parameter.grad = None
    parts = []
    for batch in run.split(pictures):
        places = batch.to(run.device, non_blocking=True)
        labels = run.data.train_labels.index_select(0, places)
        inputs, share = run.training_input(batch, noise), 1.0
        if mixer is not None:
            inputs, share = mixer.mix(inputs)
        with devices.autocast(run.device, run.config.train.precision):
            logits = run.model(inputs)
        logits = logits.float()
        loss = run.loss(logits, labels)
        if mixer is not None:
            loss = share * loss + (1 - share) * run.loss(logits, labels.flip(0))
        if len(batch) < len(pictures):
            loss = loss * (len(batch) / len(pictures))
        torch.autograd.backward(loss if run.scaler is None else run.scaler.scale(loss))
        parts.append((loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()))
    return parts


def _total(parts: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and right answers of a step's batches, added in one order whatever their number."""
    rows = [torch.stack((loss, correct.to(loss.dtype))) for loss, correct in parts]
    loss, correct = torch.stack(rows).sum(dim=0)
    return loss, correct


def _read(run: Run, figures: list[Figures]) -> list[list[float]]:
    """Losses, gradient norms and right answers of some steps, with one read of the device."""
    columns = [torch.stack(column) for column in zip(*figures, strict=True)]
    numbers, count = run.read(torch.cat([column.float() for column in columns])), len(figures)
    return [numbers[start : start + count] for start in range(0, 3 * count, count)]


def _validate(run: Run, steps: Steps) -> Mapping[str, float]:
    """Figures of the validation pictures, but for what an own objective gives itself."""
    if len(steps.validation) == len(custom_objective.VALIDATION):
        return steps.validation
    ours = run.validate()
    return {
        "validation_loss": ours.loss,
        "validation_accuracy": ours.accuracy,
        "balanced_accuracy": ours.balanced_accuracy,
        "macro_f1": ours.macro_f1,
        "log_loss": ours.log_loss,
        **steps.validation,
    }
