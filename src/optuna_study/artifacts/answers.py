"""A trained model's answers as numbers, for figures that are made when somebody asks for them.

Data that are points of a plane are pictures of one pixel with two channels, x and y, whatever
their name. A channel is a byte, so the plane has 256 by 256 points, and those are all that a model
can be asked about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from optuna_study.report.figures.predictions import (
    LARGEST,
    MOST_MISTAKES,
    MOST_POINTS,
    Mistakes,
    Outputs,
    Plane,
    Predictions,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from optuna_study.training.device_data import DeviceData

    Ask = Callable[[torch.Tensor], NDArray[np.float32]]
    """Gives a row a picture, a number a class, of uint8 pictures on the data's device."""
    AskFirst = Callable[[int], NDArray[np.float32]]
    """Gives the same of the validation pictures, as many as it is told, from the first on."""

STEPS = 256  # points of an axis
MOST_ASKED = 2000  # validation pictures among which the worst mistakes are looked for


def answers(
    data: DeviceData,
    confusion: NDArray[np.int64],
    predict_proba: Ask,
    validation_proba: AskFirst,
    *,
    in_detail: bool,
    outputs: Outputs | None = None,
) -> Predictions:
    """What a trial leaves of its model's answers on the validation pictures.

    The model is asked only where single pictures are looked at, `in_detail`.
    """
    mistakes = plane = None
    if in_detail and is_plane(data):
        plane = ask_plane(data, predict_proba)
    elif in_detail and are_pictures(data):
        mistakes = find_mistakes(data, validation_proba(MOST_ASKED))
    return Predictions(data.classes, confusion, mistakes, plane, outputs)


def ask_outputs(data: DeviceData, ask: Ask, record: int) -> Outputs | None:
    """What a model gives for one training picture; None where there are not so many."""
    if record >= len(data.train_images):
        return None
    picture = data.train_images[record : record + 1]
    return Outputs(
        record=record,
        image=_small(picture)[0, :3].permute(1, 2, 0).numpy(force=True),
        truth=int(data.train_labels[record]),
        values=ask(picture)[0],
    )


def find_mistakes(data: DeviceData, probabilities: NDArray[np.float32]) -> Mistakes:
    """The validation pictures that are answered wrongly with the highest probabilities.

    `probabilities` (N, classes) are those of the first N.
    """
    images = data.validation_images
    truths = data.validation_labels[: len(probabilities)].numpy(force=True)
    given = probabilities.argmax(axis=1)
    chances = np.where(given == truths, -1.0, probabilities.max(axis=1))
    wrong = int((given != truths).sum())
    worst = np.argsort(-chances, kind="stable")[: min(MOST_MISTAKES, wrong)].copy()
    chosen = _small(images[torch.as_tensor(worst, device=images.device)])
    return Mistakes(
        images=chosen.permute(0, 2, 3, 1).numpy(force=True),
        truths=truths[worst].astype(np.int64),
        answers=given[worst].astype(np.int64),
        chances=chances[worst].astype(np.float64),
    )


def ask_plane(data: DeviceData, predict_proba: Ask) -> Plane:
    """A model's answers at every point of the plane, and the points that it saw or chose by.

    Those held out for the test stay unseen.
    """
    # A class a row: along so short an axis NumPy looks for the largest 15 times as long.
    probabilities = np.ascontiguousarray(predict_proba(plane_points(data.device)).T)
    images = torch.cat((data.train_images, data.validation_images))[:MOST_POINTS]
    labels = torch.cat((data.train_labels, data.validation_labels))[:MOST_POINTS]
    points = torch.cat((images.flatten(1), labels[:, None].to(torch.uint8)), dim=1)
    return Plane(
        answers=probabilities.argmax(axis=0).astype(np.uint8).reshape(STEPS, STEPS),
        chances=(255 * probabilities.max(axis=0)).round().astype(np.uint8).reshape(STEPS, STEPS),
        points=points.numpy(force=True),
    )


def are_pictures(data: DeviceData) -> bool:
    """Whether the data are pixels that somebody can look at, and no features of a backbone."""
    return data.validation_images.dtype == torch.uint8 and data.validation_images.dim() == 4


def is_plane(data: DeviceData) -> bool:
    """Whether the data's pictures are points of a plane."""
    return tuple(data.train_images.shape[1:]) == (2, 1, 1)


def plane_points(device: torch.device) -> torch.Tensor:
    """Every point of the plane as a picture (65536, 2, 1, 1): row after row, x fastest."""
    axis = torch.arange(STEPS, dtype=torch.uint8, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), dim=1).view(-1, 2, 1, 1)


def plane_picture(data: DeviceData) -> NDArray[np.uint8]:
    """The training and validation points (256, 256, 3) on white, the highest y first."""
    picture = np.full((STEPS, STEPS, 3), 255, np.uint8)
    hues = np.linspace(0, 1, len(data.classes), endpoint=False)
    colours = np.array([_colour(hue) for hue in hues], np.uint8)
    for images, labels in (
        (data.train_images, data.train_labels),
        (data.validation_images, data.validation_labels),
    ):
        places = images.flatten(1).numpy(force=True)
        picture[255 - places[:, 1], places[:, 0]] = colours[labels.numpy(force=True)]
    return picture


def _colour(hue: float) -> tuple[int, int, int]:
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 0.8)
    return round(255 * red), round(255 * green), round(255 * blue)


def _small(images: torch.Tensor) -> torch.Tensor:
    """Pictures (N, channels, side, side) of bytes, none larger than figures show them."""
    side = max(images.shape[-2:])
    if side <= LARGEST or not len(images):
        return images
    smaller = functional.interpolate(
        images.float(), scale_factor=LARGEST / side, mode="bilinear", antialias=True
    )
    return smaller.round().clamp(0, 255).to(torch.uint8)
