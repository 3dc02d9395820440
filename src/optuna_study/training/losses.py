"""Losses by name, and the probabilities that belong to each."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from torch.nn import functional

from optuna_study.errors import UsageError, did_you_mean
from optuna_study.training import layers

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from optuna_study.training.config import ModelSettings, TrainConfig

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


def get_loss(config: TrainConfig) -> Loss:
    """The loss of a configuration.

    Raises:
        UsageError: an unknown name, or mse of an activation that outputs cannot have.
    """
    name = config.train.loss
    if name == "mse" and config.train.mse_of == "activation":
        return _mse_of_activation(config.model)
    if name not in _LOSSES:
        raise UsageError(f"loss '{name}': unknown, {did_you_mean(name, _LOSSES)}")
    return _LOSSES[name]


@functools.lru_cache(maxsize=8)  # asked for at every step
def _mse_of_activation(settings: ModelSettings) -> Loss:
    """Mean squared error of the activation against one-hot targets, over pictures and classes."""
    activation = layers.activation(settings)
    if layers.widening(settings) > 1 or any(True for _ in activation.parameters()):
        raise UsageError(
            f"mse_of 'activation': {settings.activation} has weights of its own, which outputs "
            'have no place for; use mse_of = "sigmoid" or another activation'
        )

    def mse_of_activation(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(activation(logits), _one_hot(logits, labels))

    return mse_of_activation


def probabilities(name: str, logits: torch.Tensor) -> torch.Tensor:
    """(N, classes) probabilities: softmax; for mse and bce the sigmoids, scaled to sum to one."""
    if name == "cross_entropy":
        return logits.softmax(dim=1)
    # In logarithms, since all the sigmoids of a picture may underflow.
    return functional.logsigmoid(logits).softmax(dim=1)


def _one_hot(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
