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

from optuna_study.seeds import stream_seed

if TYPE_CHECKING:
    import torch

    from optuna_study.config.settings import TrainSettings


@dataclass(frozen=True)
class Mixer:
    """Draws a mixture for each batch; a strength of zero leaves that way of mixing out."""

    mixup: float
    cutmix: float
    random: np.random.Generator

    def mix(self, inputs: torch.Tensor) -> tuple[torch.Tensor, float]:
        """A batch mixed with itself in reverse, and the share that is each picture's own.

        Where both ways are asked for each is taken half of the time. What is no picture (B, C, H,
        W) has no boxes and is mixed by the mean.
        """
        cut = self.cutmix > 0 and (self.mixup == 0 or self.random.random() < 0.5)
        strength = self.cutmix if cut else self.mixup
        share = float(self.random.beta(strength, strength))
        if not cut or inputs.ndim != 4:
            return inputs.lerp(inputs.flip(0), 1 - share), share
        top, bottom, left, right = self._box(inputs.shape[2], inputs.shape[3], share)
        mixed = inputs.clone()
        mixed[:, :, top:bottom, left:right] = inputs.flip(0)[:, :, top:bottom, left:right]
        replaced = (bottom - top) * (right - left) / (inputs.shape[2] * inputs.shape[3])
        return mixed, 1 - replaced

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


def mixer_of(settings: TrainSettings, epoch: int) -> Mixer | None:
    """What mixes the batches of an epoch; None where the settings mix nothing."""
    if not (settings.mixup or settings.cutmix):
        return None
    seed = stream_seed(settings.seed, "mixing", epoch)
    return Mixer(settings.mixup, settings.cutmix, np.random.default_rng(seed))
