"""A trained model as a torch module that takes pictures and knows its classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from optuna_study.training.evaluation import evaluation_logits
from optuna_study.training.model_file import (
    ModelFile,
    Prediction,
    classify,
    load_network,
    read_model,
    without_pictures,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class TrainedModel(nn.Module):
    """A model with its preprocessing: uint8 pictures in, logits out; ready to be asked.

    `classes` are the names of the outputs, `mean` and `std` the channels' on the scale from 0 to
    1, `network` the model that takes normalised input.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, stored: ModelFile, device: torch.device, allowed: Collection[str] = ()
    ) -> None:
        super().__init__()
        self._stored = stored
        self.classes = stored.classes
        self.config = stored.config
        self.channels = stored.channels
        self.image_size = stored.config.data.image_size
        self.network = load_network(stored, device, allowed)
        self.register_buffer("mean", stored.mean.to(device))
        self.register_buffer("std", stored.std.to(device))
        self._data = without_pictures(stored, device)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of uint8 pictures (N, channels, side, side).

        The side is that of the model's decoded pictures, `cache_size` in its file.
        """
        return evaluation_logits(self.network, self.config, self._data, images)

    def predict(self, images: str | Path | Iterable[str | Path]) -> list[Prediction]:
        """Classes and probabilities of picture files, in the order given.

        What cannot be read has a `problem` in place of a class.
        """
        several = [images] if isinstance(images, str | Path) else images
        paths = [Path(image) for image in several]
        return classify(self.network, self._stored, paths, self._data.device)


def load_model(
    path: str | Path, device: str = "cpu", allowed: Collection[str] = ()
) -> TrainedModel:
    """The model in a file that `train -o` wrote, or in the folder of `export --model`.

    `allowed` are modules whose functions the model may name; it runs them.

    Raises:
        NotFoundError: no such file.
        DataError: it holds no model that can be used.
        UsageError: the model is somebody's own and its module is not allowed, or not here.
    """
    return TrainedModel(read_model(Path(path)), torch.device(device), allowed)
