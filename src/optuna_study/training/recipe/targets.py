"""The loss that training descends: with smoothed labels and weighted classes where asked for.

Validation and test figures are of the plain loss, so that trials of different recipes compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from optuna_study.training.losses import answers, get_loss, one_hot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.losses import Loss


def training_loss(config: TrainConfig, counts: Sequence[int], device: torch.device) -> Loss:
    """The loss of a configuration on training pictures, of which each class has `counts`.

    Smoothed labels take a share of the target from the true class and spread it evenly over all
    (Szegedy et al. 2016). Balanced classes weigh pictures / (classes x pictures of the class), as
    in scikit-learn; a batch's loss is the weighted mean.

    Raises:
        UsageError: as `get_loss`.
    """
    settings, plain = config.train, get_loss(config)
    smoothing = settings.label_smoothing
    weights = None
    if settings.class_weights == "balanced":
        shares = [sum(counts) / (len(counts) * count) if count else 0.0 for count in counts]
        weights = torch.tensor(shares, device=device)
    if weights is None and smoothing == 0:
        return plain
    if settings.loss == "cross_entropy":

        def smoothed(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(
                logits, labels, weight=weights, label_smoothing=smoothing
            )

        return smoothed
    answer = answers(config)

    def compared(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        targets = one_hot(logits, labels) * (1 - smoothing) + smoothing / logits.shape[1]
        if settings.loss == "mse":
            each = functional.mse_loss(answer(logits), targets, reduction="none")
        else:
            each = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        pictures = each.mean(dim=1)
        if weights is None:
            return pictures.mean()
        shares = weights.index_select(0, labels)
        return (pictures * shares).sum() / shares.sum()

    return compared
