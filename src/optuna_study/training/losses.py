"""Losses by name, and the probabilities that belong to each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from optuna_study.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of the softmax, over (N, classes) logits and (N,) labels."""
    return functional.cross_entropy(logits, labels)


def mse(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the sigmoid against one-hot targets, over pictures and classes."""
    return functional.mse_loss(logits.sigmoid(), _one_hot(logits, labels))


def bce(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean binary cross entropy of the sigmoid and one-hot targets, over pictures and classes."""
    return functional.binary_cross_entropy_with_logits(logits, _one_hot(logits, labels))


_LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mse, "bce": bce}


def get_loss(name: str) -> Loss:
    """The loss of a name.

    Raises:
        UsageError: an unknown name.
    """
    if name not in _LOSSES:
        raise UsageError(f"loss '{name}': unknown, {did_you_mean(name, _LOSSES)}")
    return _LOSSES[name]


def probabilities(name: str, logits: torch.Tensor) -> torch.Tensor:
    """(N, classes) probabilities: softmax; for mse and bce the sigmoids, scaled to sum to one."""
    if name == "cross_entropy":
        return logits.softmax(dim=1)
    # In logarithms, since all the sigmoids of a picture may underflow.
    return functional.logsigmoid(logits).softmax(dim=1)


def _one_hot(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
