"""torchvision's changes in training: each picture its own, from the run's generator alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch
from torchvision.transforms import v2

from optuna_study.config.catalogue import AUGMENTATIONS
from optuna_study.training.augment import augment
from optuna_study.training.recipe.policies import ON_BYTES, ON_FLOATS, change

if TYPE_CHECKING:
    from optuna_study.training.device_data import DeviceData

NAMES = (*ON_BYTES, *ON_FLOATS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_change_each_for_itself_and_repeatably(name: str) -> None:
    assert name in AUGMENTATIONS
    one = torch.randint(0, 256, (3, 16, 16), generator=seeded(1), dtype=torch.uint8)
    same = one.expand(24, 3, 16, 16) if name in ON_BYTES else one.expand(24, 3, 16, 16) / 255
    before = torch.get_rng_state()
    changed = change(same, [name], seeded(7))
    assert torch.equal(torch.get_rng_state(), before), "dropout's draws stay what they were"
    assert (changed.shape, changed.dtype) == (same.shape, same.dtype)
    assert len({each.numpy().tobytes() for each in changed}) > 1
    assert torch.equal(change(same, [name], seeded(7)), changed)
    assert not torch.equal(change(same, [name], seeded(8)), changed)


def test_a_flip_is_torchvisions() -> None:
    images = torch.randint(0, 256, (9, 3, 8, 8), generator=seeded(2), dtype=torch.uint8)
    seed = int(torch.randint(2**62, (), generator=seeded(3)))
    flip = v2.RandomVerticalFlip(0.5)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        expected = torch.stack([flip(image) for image in images])
    assert torch.equal(change(images, ["vertical_flip"], seeded(3)), expected)
    assert change(images, [], seeded(3)) is images


@pytest.mark.parametrize("channels", [1, 3])
def test_they_join_with_ours(tiny_data: DeviceData, channels: int) -> None:
    data = dataclasses.replace(
        tiny_data,
        train_images=tiny_data.train_images[:, :channels],
        mean=tiny_data.mean[:channels],
        std=tiny_data.std[:channels],
    )
    names = tuple(name for name in AUGMENTATIONS if name != "pca_jitter")
    inputs = augment(data.train_images[:8], names, data, seeded(4))
    assert inputs.shape == (8, channels, data.image_size, data.image_size)
    assert inputs.isfinite().all()
