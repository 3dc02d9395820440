"""Changes to training pictures by torchvision's transforms, drawn for each picture alone.

RandAugment (Cubuk et al. 2020), TrivialAugment (Müller and Hutter 2021) and random erasing (Zhong
et al. 2020) as torchvision has them by default; vertical flips of half of the pictures, rotations
by up to 15 degrees.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from optuna_study.training.backbone.without_compiler import without_compiler
from optuna_study.training.device import random_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Change = Callable[[torch.Tensor], torch.Tensor]

ROTATION = 15.0
"""Degrees to either side."""

ON_BYTES = ("vertical_flip", "rotation", "trivial_augment", "rand_augment")
ON_FLOATS = ("random_erasing",)


@cache
def _changes() -> dict[str, Change]:
    with without_compiler():
        from torchvision.transforms import v2

    smooth = v2.InterpolationMode.BILINEAR
    made: dict[str, Any] = {
        "vertical_flip": v2.RandomVerticalFlip(0.5),
        "rotation": v2.RandomRotation(ROTATION, interpolation=smooth),
        "trivial_augment": v2.TrivialAugmentWide(interpolation=smooth),
        "rand_augment": v2.RandAugment(interpolation=smooth),
        "random_erasing": v2.RandomErasing(),
    }
    return made


def change(images: torch.Tensor, names: Iterable[str], generator: torch.Generator) -> torch.Tensor:
    """Pictures (B, channels, height, width) after the named changes, one after the other.

    torchvision draws from torch's global generators, which are seeded from `generator` for the
    batch: what it draws changes nothing else of a run.
    """
    changes = [_changes()[name] for name in names]
    if not changes:
        return images
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    changed = []
    with random_stream(images.device, seed):
        for image in images:
            for each in changes:
                image = each(image)
            changed.append(image)
    return torch.stack(changed)
