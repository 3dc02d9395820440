"""One update of a model: the gradients of a step's pictures, their norm, the optimizer.

It reads no number of the device, so that it can be captured (`steps.captured`) as well as called.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn.utils import clip_grads_with_norm_

from optuna_study.config.training_errors import is_out_of_memory
from optuna_study.text import in_one_line
from optuna_study.training import device as devices

if TYPE_CHECKING:
    from optuna_study.training.run import Run

    Figures = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    Parts = list[tuple[torch.Tensor, torch.Tensor]]
    Share = float | torch.Tensor

log = logging.getLogger(__name__)

SMALLEST_HALVED = 4
"""Batch norm needs two pictures at once."""


class Mixes(Protocol):
    """Mixes batches; see `recipe.mixing`."""

    def mix(self, inputs: torch.Tensor) -> tuple[torch.Tensor, Share, Share]:
        """A batch mixed with itself in reverse, the share that is each picture's own, the rest."""


def step(
    run: Run, pictures: torch.Tensor, noise: torch.Generator, mixer: Mixes | None = None
) -> Figures:
    """One update; loss, gradient norm and right answers, three numbers that stay on the device.

    More pictures than a batch holds are worked on one batch at a time; their gradients add up to
    that of the mean over all of them. A batch for which memory does not suffice is halved, once
    in a run.
    """
    return _update(run, _accumulate_within_memory(run, pictures, noise, mixer))


def whole_step(
    run: Run, pictures: torch.Tensor, noise: torch.Generator, mixer: Mixes | None = None
) -> Figures:
    """As `step`; pictures for which memory does not suffice are an error."""
    return _update(run, _accumulate(run, pictures, noise, mixer))


def _update(run: Run, parts: Parts) -> Figures:
    """Descend the gradients that the parameters have; `parts` are the figures of each batch."""
    loss, correct = parts[0] if len(parts) == 1 else _total(parts)
    if run.scaler is not None:
        run.scaler.unscale_(run.optimizer)
    gradients = [p.grad for p in run.parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if run.config.train.gradient_clip:
        clip_grads_with_norm_(run.parameters, run.config.train.gradient_clip, norm)
    if run.scaler is None:
        run.optimizer.step()
        return loss, norm, correct
    run.scaler.step(run.optimizer)
    run.scaler.update()
    # A gradient beyond half precision's range makes the scaler skip the step: no divergence.
    return loss, torch.where(norm.isfinite(), norm, 0.0), correct


def _accumulate_within_memory(
    run: Run, pictures: torch.Tensor, noise: torch.Generator, mixer: Mixes | None
) -> Parts:
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
    run: Run, pictures: torch.Tensor, noise: torch.Generator, mixer: Mixes | None
) -> Parts:
    """Leave the gradients of a step in the parameters; loss and right answers of each batch."""
    for parameter in run.parameters:
        parameter.grad = None
    parts = []
    for batch in run.split(pictures):
        places = batch.to(run.device, non_blocking=True)
        labels = run.data.train_labels.index_select(0, places)
        inputs = run.training_input(batch, noise)
        share: Share = 1.0
        rest: Share = 0.0
        if mixer is not None:
            inputs, share, rest = mixer.mix(inputs)
        with devices.autocast(run.device, run.config.train.precision):
            logits = run.model(inputs)
        logits = logits.float()
        loss = run.loss(logits, labels)
        if mixer is not None:
            loss = share * loss + rest * run.loss(logits, labels.flip(0))
        if len(batch) < len(pictures):
            loss = loss * (len(batch) / len(pictures))
        torch.autograd.backward(loss if run.scaler is None else run.scaler.scale(loss))
        parts.append((loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()))
    return parts


def _total(parts: Parts) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and right answers of a step's batches, added in one order whatever their number."""
    rows = [torch.stack((loss, correct.to(loss.dtype))) for loss, correct in parts]
    loss, correct = torch.stack(rows).sum(dim=0)
    return loss, correct
