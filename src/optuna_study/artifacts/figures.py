"""The pictures of a trial: its curve and its confusion matrix, through matplotlib's Figure alone.

No pyplot: it keeps global state and every figure ever made.
"""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from optuna_study.store.records import EpochRecord

TRAINING, VALIDATION, QUIET = "#8fa3b8", "#c8442d", "#6b7280"
NAMED_CLASSES = 24  # beyond, names and counts would overlap
WRITTEN_COUNTS = 15
LOG_RANGE = 30.0  # a loss that spans more is drawn on a logarithmic axis


def curve_picture(title: str, epochs: Sequence[EpochRecord]) -> bytes:
    """A PNG of loss and accuracy by epoch; each step of the learning rate is marked."""
    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    at = [record.epoch for record in epochs]
    _pair(loss, at, [e.train_loss for e in epochs], [e.validation_loss for e in epochs])
    _pair(
        accuracy, at, [e.train_accuracy for e in epochs], [e.validation_accuracy for e in epochs]
    )
    accuracy.set_ylim(0, 1.02)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    losses = [value for e in epochs for value in (e.train_loss, e.validation_loss) if value > 0]
    if losses and max(losses) > LOG_RANGE * min(losses):
        loss.set_yscale("log")
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        _dress(axes, name)
        _mark_rates(axes, epochs)
    loss.legend(frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return _png(figure)


def confusion_picture(title: str, matrix: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """A PNG of counts by class (rows) and answer (columns), coloured by each row's shares."""
    count = len(classes)
    side = 2.6 + 0.42 * min(count, NAMED_CLASSES)
    figure = Figure(figsize=(side + 0.8, side), dpi=110, layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    if count <= NAMED_CLASSES:
        axes.set_xticks(range(count), classes, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(count), classes)
    if count <= WRITTEN_COUNTS:
        for (row, column), number in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.55 else "#1f2937"
            weight = "bold" if row == column else "normal"
            axes.text(
                column, row, str(number), ha="center", va="center", color=colour, weight=weight
            )
    axes.set_xlabel("predicted", color=QUIET)
    axes.set_ylabel("true", color=QUIET)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1.0, decimals=0))
    bar.outline.set_visible(False)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return _png(figure)


def rate_changes(epochs: Sequence[EpochRecord]) -> list[tuple[float, float]]:
    """Where the learning rate steps, as (between which epochs, new rate).

    A rate that changes at most epochs follows a smooth schedule: it has no steps to mark.
    """
    changes = [
        (after.epoch - 0.5, after.lr)
        for before, after in itertools.pairwise(epochs)
        if after.lr != before.lr
    ]
    return changes if len(changes) <= max(1, len(epochs) // 3) else []


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _pair(axes: Axes, at: list[int], training: list[float], validation: list[float]) -> None:
    marker = "o" if len(at) <= 20 else None
    style: dict[str, Any] = {"marker": marker, "markersize": 3.5, "linewidth": 1.8}
    axes.plot(at, training, color=TRAINING, label="training", **style)
    axes.plot(at, validation, color=VALIDATION, label="validation", **style)


def _dress(axes: Axes, name: str) -> None:
    axes.set_title(name, loc="left", fontsize=10, color=QUIET)
    axes.set_xlabel("epoch", color=QUIET)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=QUIET, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#d1d5db")


def _mark_rates(axes: Axes, epochs: Sequence[EpochRecord]) -> None:
    for at, lr in rate_changes(epochs):
        axes.axvline(at, color=QUIET, linestyle=":", linewidth=1)
        axes.annotate(
            f"lr {lr:.3g}",
            (at, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color=QUIET,
        )
