"""What a shorter or longer profile does to everything that is counted in epochs; pure."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from optuna_study.space.dimensions import Breakpoints, Dimension, FloatRange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.config.settings import Setting

Pairs = tuple[tuple[int, float], ...]


def scale_epochs(epochs: int, before: int, after: int) -> int:
    """A number of epochs when a run of `before` epochs becomes one of `after`, at least 1.

    >>> scale_epochs(200, 150, 15)
    20
    """
    return max(1, math.floor(epochs * after / before + 0.5))


def scale_breakpoints(pairs: Pairs, before: int, after: int) -> Pairs:
    """Breakpoints of a run of `before` epochs for one of `after`: rounded, distinct, in order.

    They stay within the run while it has epochs enough, one more than there are breakpoints.

    >>> scale_breakpoints(((16, 0.1), (18, 0.01)), 150, 12)
    ((1, 0.1), (2, 0.01))
    """
    if before == after:
        return pairs
    epochs: list[int] = []
    for epoch, _ in pairs:
        lowest = epochs[-1] + 1 if epochs else 1
        epochs.append(max(lowest, scale_epochs(epoch, before, after)))
    for index in range(len(epochs)):
        last = after - len(epochs) + index  # leaves room for those that follow
        epochs[index] = min(epochs[index], max(last, index + 1))
    return tuple((epoch, lr) for epoch, (_, lr) in zip(epochs, pairs, strict=True))


def scale_settings(settings: Mapping[str, Setting], before: int, after: int) -> dict[str, Setting]:
    """The settings of a configuration or a baseline, those counted in epochs scaled.

    A baseline's own `epochs` scale too, and its breakpoints then with them.
    """
    scaled = dict(settings)
    own = settings.get("epochs", before)
    assert isinstance(own, int)
    own_after = scale_epochs(own, before, after)
    if "epochs" in settings:
        scaled["epochs"] = own_after
    pairs = settings.get("breakpoints")
    if isinstance(pairs, tuple):
        scaled["breakpoints"] = scale_breakpoints(pairs, own, own_after)
    warmup = settings.get("warmup_epochs")
    if isinstance(warmup, float):
        scaled["warmup_epochs"] = warmup * after / before
    return scaled


def scale_dimension(dimension: Dimension, before: int, after: int) -> Dimension:
    """A dimension whose bounds are counted in epochs, scaled; any other as it is."""
    if before == after:
        return dimension
    if isinstance(dimension, Breakpoints):
        low = scale_epochs(dimension.after_low, before, after)
        high = dimension.after_high
        if high is not None:
            high = min(max(low, scale_epochs(high, before, after)), max(low, after - 1))
        return dataclasses.replace(dimension, after_low=low, after_high=high)
    if isinstance(dimension, FloatRange) and dimension.setting == "warmup_epochs":
        ratio = after / before
        step = None if dimension.step is None else dimension.step * ratio
        return dataclasses.replace(
            dimension, low=dimension.low * ratio, high=dimension.high * ratio, step=step
        )
    return dimension
