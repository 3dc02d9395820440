"""Data and configurations so small that a run takes a fraction of a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from recorded_curves import BASE, make_tiny_data

from optuna_study.config.settings import Setting, TrainConfig, with_settings
from optuna_study.training.backbone.without_compiler import without_compiler

with without_compiler():  # for whichever test compares with it first: 0.5 CPU s and not 3
    import torchvision.transforms.v2  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.training.device_data import DeviceData


@pytest.fixture(scope="session")
def tiny_data() -> DeviceData:
    """Ninety training pictures of 16 pixels in three classes that a small net can distinguish."""
    return make_tiny_data()


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    """A configuration that learns the tiny data in a few epochs, with some settings changed."""

    def make(**settings: Setting) -> TrainConfig:
        return with_settings(TrainConfig(), {**BASE, "epochs": 4, **settings})

    return make
