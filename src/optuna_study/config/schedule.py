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
    by a factor that rises evenly and is 1 at its last step.
    """
    warm_steps = math.ceil(settings.warmup_epochs * steps_per_epoch)
    if settings.schedule == "cosine":
        last = settings.epochs * steps_per_epoch
        rate = _cosine(settings.lr, step - warm_steps, last - warm_steps)
    else:
        rate = _piecewise(settings, step // steps_per_epoch)
    if step < warm_steps:
        rate *= (step + 1) / warm_steps
    return rate


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
