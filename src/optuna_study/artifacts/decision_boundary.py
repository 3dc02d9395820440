"""Data that are points of a plane, as pictures: the points, and the model's answer everywhere.

Such data are pictures of one pixel with two channels, x and y, whatever their name. A channel is a
byte, so the plane has 256 by 256 points, and those are all that a model can be asked about.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from optuna_study.training.device_data import DeviceData

    Colours = NDArray[np.float64]

STEPS = 256
"""Points of an axis; each is drawn as a square of two by two pixels."""

LEFT, TOP, SIDE = 44, 40, 2 * STEPS
"""Where the plane lies in a picture, in pixels from its upper left corner, and its side."""

WIDTH, HEIGHT, DPI = LEFT + SIDE + 20, TOP + SIDE + 74, 100
FAINTEST, STRONGEST = 0.12, 0.55
"""How much of a class's colour its area has: where the model guesses, and where it is sure."""

INK, QUIET = "#1f2937", "#6b7280"
TICKS = {0: "-1", 127.5: "0", 255: "1"}


def is_plane(data: DeviceData) -> bool:
    """Whether the data's pictures are points of a plane."""
    return tuple(data.train_images.shape[1:]) == (2, 1, 1)


def plane_points(device: torch.device) -> torch.Tensor:
    """Every point of the plane as a picture (65536, 2, 1, 1): row after row, x fastest."""
    axis = torch.arange(STEPS, dtype=torch.uint8, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), dim=1).view(-1, 2, 1, 1)


def data_picture(title: str, data: DeviceData) -> bytes:
    """A PNG of training and validation points; those held out for the test stay unseen."""
    return _picture(title, data, np.ones((STEPS, STEPS, 3)))


def boundary_picture(title: str, data: DeviceData, probabilities: NDArray[np.float32]) -> bytes:
    """A PNG of what a model answers at every point of the plane, below the data.

    `probabilities` (65536, classes) are the model's at `plane_points`.
    """
    return _picture(title, data, colour_areas(probabilities))


def colour_areas(probabilities: NDArray[np.float32]) -> Colours:
    """The colour of each point (256, 256, 3): its likeliest class's, faint where it is unsure."""
    count = probabilities.shape[1]
    highest, lowest = probabilities.max(axis=1), 1 / count
    certainty = np.clip((highest - lowest) / (1 - lowest), 0, 1)
    share = (FAINTEST + (STRONGEST - FAINTEST) * certainty)[:, None]
    mixed: Colours = 1 - share * (1 - class_colours(count)[probabilities.argmax(axis=1)])
    return mixed.reshape(STEPS, STEPS, 3)


def class_colours(count: int) -> Colours:
    """A colour for each class, as red, green and blue from 0 to 1."""
    if count <= 10:
        return np.array(colormaps["tab10"](np.arange(count)))[:, :3]
    return np.array(colormaps["hsv"](np.linspace(0, 1, count, endpoint=False)))[:, :3] * 0.85


def _picture(title: str, data: DeviceData, background: Colours) -> bytes:
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
    bottom = HEIGHT - TOP - SIDE
    figure.figimage(background.repeat(2, axis=0).repeat(2, axis=1), LEFT, bottom, origin="lower")
    box = (LEFT / WIDTH, bottom / HEIGHT, SIDE / WIDTH, SIDE / HEIGHT)
    limits = (-0.5, STEPS - 0.5)
    axes = figure.add_axes(box, xlim=limits, ylim=limits, facecolor="none", zorder=1)
    colours = class_colours(len(data.classes))
    _points(axes, data.train_images, data.train_labels, colours, {"s": 7, "linewidths": 0})
    marked = {"s": 22, "linewidths": 0.8, "edgecolors": INK}
    _points(axes, data.validation_images, data.validation_labels, colours, marked)
    axes.set_xticks(list(TICKS), list(TICKS.values()))
    axes.set_yticks(list(TICKS), list(TICKS.values()))
    axes.tick_params(colors=QUIET, labelsize=8, length=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _legend(figure, data, colours)
    figure.text(8 / WIDTH, 1 - 24 / HEIGHT, title, fontsize=11, weight="bold", color=INK)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _points(
    axes: Axes, images: torch.Tensor, labels: torch.Tensor, colours: Colours, style: dict[str, Any]
) -> None:
    positions = images.flatten(1).cpu().numpy()
    axes.scatter(positions[:, 0], positions[:, 1], c=colours[labels.cpu().numpy()], **style)


def _legend(figure: Figure, data: DeviceData, colours: Colours) -> None:
    """Classes by their colour, then what the two kinds of points are."""
    style: dict[str, Any] = {"linestyle": "", "marker": "o"}
    entries = [
        Line2D([], [], color=colour, markersize=6, label=name, **style)
        for name, colour in zip(data.classes, colours[:6], strict=False)
    ]
    kinds = (("training", 3.0, "none"), ("validation", 5.5, INK))
    entries += [
        Line2D([], [], color="#9ca3af", markersize=s, markeredgecolor=edge, label=name, **style)
        for name, s, edge in kinds
    ]
    figure.legend(
        handles=entries,
        loc="lower center",
        ncols=5,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handletextpad=0.1,
        columnspacing=1.2,
    )
