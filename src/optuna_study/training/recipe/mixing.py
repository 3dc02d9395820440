"""Training pictures mixed in pairs, and their losses in the same shares.

mixup (Zhang et al. 2018) takes a weighted mean of two pictures, CutMix (Yun et al. 2019) puts a
box of one into the other. A picture's partner is the one that many places from the batch's other
end, as in timm: the order is random already. A batch has one share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from optuna_study.seeds import stream_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.config.settings import TrainSettings


@dataclass(frozen=True)
class Mixture:
    """How a batch is mixed with itself in reverse: by the mean, or in a box.

    `share` of a picture's loss is that of its own class, `other` the weight of the other picture
    in their mean, `box` the top, bottom, left and right of what is the other's.
    """

    share: float
    other: float
    box: tuple[int, int, int, int] | None = None

    def numbers(self) -> tuple[float, ...]:
        """As `HeldMixer` takes them."""
        return (self.share, 1 - self.share, self.other, *(self.box or (0, 0, 0, 0)))


@dataclass(frozen=True)
class Mixer:
    """Draws a mixture for each batch; a strength of zero leaves that way of mixing out."""

    mixup: float
    cutmix: float
    random: np.random.Generator

    def mix(self, inputs: torch.Tensor) -> tuple[torch.Tensor, float, float]:
        """A batch mixed with itself in reverse, the share that is each picture's own, the rest."""
        drawn = self.draw(inputs.shape)
        if drawn.box is None:
            return inputs.lerp(inputs.flip(0), drawn.other), drawn.share, 1 - drawn.share
        top, bottom, left, right = drawn.box
        mixed = inputs.clone()
        mixed[:, :, top:bottom, left:right] = inputs.flip(0)[:, :, top:bottom, left:right]
        return mixed, drawn.share, 1 - drawn.share

    def draw(self, shape: Sequence[int]) -> Mixture:
        """How a batch of this shape is mixed.

        Where both ways are asked for each is taken half of the time. What is no picture (B, C, H,
        W) has no boxes and is mixed by the mean.
        """
        cut = self.cutmix > 0 and (self.mixup == 0 or self.random.random() < 0.5)
        strength = self.cutmix if cut else self.mixup
        share = float(self.random.beta(strength, strength))
        if not cut or len(shape) != 4:
            return Mixture(share, 1 - share)
        height, width = shape[2:]
        top, bottom, left, right = self._box(height, width, share)
        replaced = (bottom - top) * (right - left) / (height * width)
        return Mixture(1 - replaced, 0.0, (top, bottom, left, right))

    def _box(self, height: int, width: int, share: float) -> tuple[int, int, int, int]:
        """A box of about the area that is not the picture's own, its middle anywhere."""
        side = math.sqrt(1 - share)
        down, right = int(height * side), int(width * side)
        row, column = int(self.random.integers(height)), int(self.random.integers(width))
        return (
            max(row - down // 2, 0),
            min(row + down // 2, height),
            max(column - right // 2, 0),
            min(column + right // 2, width),
        )


class HeldMixer:
    """Mixes as the numbers say that it holds on the device, whatever they are.

    The same operations mix by the mean and in a box: of nothing, where there is none.
    """

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        self.numbers = torch.zeros(7, device=device)
        self.shape: torch.Size | None = None  # of what it has mixed
        self._boxes = settings.cutmix > 0

    def mix(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `Mixer.mix`."""
        self.shape = inputs.shape
        share, rest, other, top, bottom, left, right = self.numbers.unbind()
        reverse = inputs.flip(0)
        mixed = inputs.lerp(reverse, other)
        if self._boxes and inputs.ndim == 4:
            rows = torch.arange(inputs.shape[2], device=inputs.device).view(-1, 1)
            columns = torch.arange(inputs.shape[3], device=inputs.device)
            inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
            mixed = torch.where(inside, reverse, mixed)
        return mixed, share, rest

    def table(self, mixer: Mixer, steps: int) -> torch.Tensor:
        """The numbers of so many steps, in the order in which `mixer` draws them."""
        assert self.shape is not None
        drawn = [mixer.draw(self.shape).numbers() for _ in range(steps)]
        return torch.tensor(drawn, dtype=self.numbers.dtype).to(self.numbers.device)


def mixer_of(settings: TrainSettings, epoch: int) -> Mixer | None:
    """What mixes the batches of an epoch; None where the settings mix nothing."""
    if not (settings.mixup or settings.cutmix):
        return None
    seed = stream_seed(settings.seed, "mixing", epoch)
    return Mixer(settings.mixup, settings.cutmix, np.random.default_rng(seed))
