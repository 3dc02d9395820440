"""Data and configurations so small that a run takes a fraction of a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from optuna_study.config.settings import TrainConfig, with_settings
from optuna_study.training.device_data import DeviceData

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE, CLASSES = 16, ("left", "middle", "right")


def _side(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright stripe whose place is the class."""
    labels = torch.arange(count) % len(CLASSES)
    images = torch.randint(0, 120, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    for image, label in zip(images, labels, strict=True):
        start = 5 * int(label)
        image[:, :, start : start + 5] += 100
    return images, labels


@pytest.fixture(scope="session")
def tiny_data() -> DeviceData:
    """Ninety training pictures of 16 pixels in three classes that a small net tells apart."""
    generator = torch.Generator().manual_seed(5)
    train, validation, test = (_side(count, generator) for count in (90, 30, 36))
    scaled = train[0].float() / 255
    return DeviceData(
        train_images=train[0],
        train_labels=train[1],
        validation_images=validation[0],
        validation_labels=validation[1],
        test_images=test[0],
        test_labels=test[1],
        mean=scaled.mean(dim=(0, 2, 3)),
        std=scaled.std(dim=(0, 2, 3)),
        principal=torch.eye(3) * 0.01,
        classes=CLASSES,
        image_size=SIZE,
        cache_size=SIZE,
        fingerprint="0123456789abcdef" * 4,
        memory_format=torch.contiguous_format,
    )


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    """A configuration that learns the tiny data in a few epochs, with some settings changed."""

    def make(**settings: Any) -> TrainConfig:
        small: dict[str, Any] = {
            "image_size": SIZE,
            "width": 0.05,
            "dropout": 0.1,
            "epochs": 4,
            "batch_size": 10,
            "optimizer": "momentum",
            "lr": 0.01,
            "normalisation": "group",
            "threads": 1,
        }
        return with_settings(TrainConfig(), {**small, **settings})

    return make
