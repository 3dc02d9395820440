from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from optuna_study.config.settings import ModelSettings
from optuna_study.training.build_model import build_model

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def on_meta() -> Callable[..., nn.Module]:
    """Build a model by name without memory for its weights."""

    def build(
        name: str, size: int, classes: int = 10, channels: int = 3, **changes: Any
    ) -> nn.Module:
        with torch.device("meta"):
            settings = ModelSettings(name=name, **changes)
            return build_model(settings, channels=channels, image_size=size, classes=classes)

    return build


@pytest.fixture
def shapes() -> Callable[[nn.Module, int, int], list[tuple[int, ...]]]:
    """The shape behind each convolution, pool and dense layer, without the batch."""

    def follow(model: nn.Module, channels: int, size: int) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.Linear):
                layer.register_forward_hook(
                    lambda _layer, _given, values: found.append(tuple(values.shape[1:]))
                )
        model.eval()(torch.empty(1, channels, size, size, device="meta"))
        return found

    return follow
