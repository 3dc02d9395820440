"""A model that takes its time: before each epoch but the first it rests, and nothing computes.

What befalls a study under way needs time to befall it. So no machine is too fast for it, and other
processes have the cores meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from torch import nn

from optuna_study.training.build_model import build_model

if TYPE_CHECKING:
    import torch

    from optuna_study.config.settings import ModelSettings

REST = 0.35  # seconds


class Patient(nn.Module):
    """A network that rests whenever it goes over to training, once an epoch."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        self.classes = classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.is_meta:  # a launch looks at the shape; a convolution would import 900 modules
            return images.flatten(1)[:, : self.classes]
        logits: torch.Tensor = self.network(images)
        return logits

    def train(self, mode: bool = True) -> Self:
        if mode:
            time.sleep(REST)
        return super().train(mode)


def alexnet(settings: ModelSettings, *, channels: int, image_size: int, classes: int) -> nn.Module:
    """A small AlexNet of this kind, with the dropout and the activation that are asked for."""
    small = replace(settings, name="alexnet", variant="single_tower", width=0.05)
    network = build_model(small, channels=channels, image_size=image_size, classes=classes)
    return Patient(network, classes)
