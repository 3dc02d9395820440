"""The learning rate at a step, as pure floats, and its changes in words; free of torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optuna_study.config.settings import TrainSettings


def lr_at(settings: TrainSettings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0 over the whole run.

    Breakpoints give exactly the rates they name: `(18, 0.003)` leaves epochs 1 to 18 as they are
    and trains at 0.003 from epoch 19 on. Cosine falls from `lr` after the warm-up towards zero,
    which the step after the last would reach. During the warm-up the schedule's rate is multiplied
    by a factor that rises evenly and is 1 at its last step. One_cycle is torch's OneCycleLR by its
    defaults, restarts its CosineAnnealingWarmRestarts, both step by step; plateau's factor follows
    from losses and is not in here.
    """
    warm_steps = math.ceil(settings.warmup_epochs * steps_per_epoch)
    last = settings.epochs * steps_per_epoch
    if settings.schedule == "cosine":
        rate = _cosine(settings.lr, step - warm_steps, last - warm_steps)
    elif settings.schedule == "one_cycle":
        rate = _one_cycle(settings.lr, step, last)
    elif settings.schedule == "restarts":
        rate = _restarts(settings, step - warm_steps, steps_per_epoch)
    else:  # plateau has no breakpoints unless they are named, too
        rate = _piecewise(settings, step // steps_per_epoch)
    if step < warm_steps:
        rate *= (step + 1) / warm_steps
    return rate


def _one_cycle(highest: float, step: int, steps: int) -> float:
    """Torch's defaults: from a 25th up in 0.3 of the steps, then down to a 250,000th."""
    start, end, peak = highest / 25, highest / 25 / 1e4, 0.3 * steps - 1
    if peak > 0 and step <= peak:
        return _between(start, highest, step / peak)
    return _between(highest, end, (step - peak) / (steps - 1 - peak) if steps - 1 > peak else 1.0)


def _restarts(settings: TrainSettings, step: int, steps_per_epoch: int) -> float:
    length = settings.restart_epochs * steps_per_epoch
    while step >= length:
        step, length = step - length, length * settings.restart_factor
    return _cosine(settings.lr, step, length)


def _between(first: float, last: float, share: float) -> float:
    """From one rate to another along half a cosine."""
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))


def breakpoints_text(pairs: Iterable[tuple[int, float]]) -> str:
    """Breakpoints as people read them: the last epoch before each change, and the new rate.

    >>> breakpoints_text([(18, 0.003), (30, 0.00012345)]), breakpoints_text([])
    ('after 18: 0.003, after 30: 0.0001234', 'none')
    """
    return ", ".join(f"after {epoch}: {rate:.4g}" for epoch, rate in pairs) or "none"


def _piecewise(settings: TrainSettings, epochs_done: int) -> float:
    rate = settings.lr
    for epoch, lr in settings.breakpoints:
        if epochs_done >= epoch:
            rate = lr
    return rate


def _cosine(lr: float, step: int, steps: int) -> float:
    if step <= 0:
        return lr
    return lr * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
