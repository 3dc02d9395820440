"""Losses by name, and the probabilities that belong to each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean
from optuna_study.training import layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from optuna_study.config.settings import ModelSettings, TrainConfig

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of the softmax, over (N, classes) logits and (N,) labels."""
    return functional.cross_entropy(logits, labels)


def mse(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the sigmoid against one-hot targets, over pictures and classes."""
    return functional.mse_loss(logits.sigmoid(), one_hot(logits, labels))


def bce(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean binary cross entropy of the sigmoid and one-hot targets, over pictures and classes."""
    return functional.binary_cross_entropy_with_logits(logits, one_hot(logits, labels))


_LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mse, "bce": bce}


def get_loss(config: TrainConfig) -> Loss:
    """The loss of a configuration.

    Raises:
        UsageError: an unknown name, or mse of an activation that outputs cannot have.
    """
    name = config.train.loss
    if takes_activation(config):
        return _mse_of_activation(config.model)
    if name not in _LOSSES:
        raise UsageError(f"loss '{name}': unknown, {did_you_mean(name, _LOSSES)}")
    return _LOSSES[name]


def takes_activation(config: TrainConfig) -> bool:
    """Whether the loss looks at the outputs through the model's own activation."""
    return config.train.loss == "mse" and config.train.mse_of == "activation"


def answers(config: TrainConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """What mse compares with the targets: the outputs' sigmoid, or the model's activation."""
    return _output_activation(config.model) if takes_activation(config) else torch.sigmoid


def outputs(config: TrainConfig, logits: torch.Tensor) -> torch.Tensor:
    """What a configuration's loss compares with the targets, of (N, classes) logits.

    The softmax for cross entropy, the sigmoids for bce, and for mse what `mse_of` says.
    """
    if config.train.loss == "cross_entropy":
        return logits.softmax(dim=1)
    return answers(config)(logits)


def probabilities(config: TrainConfig, logits: torch.Tensor) -> torch.Tensor:
    """(N, classes) probabilities from logits, as the configuration's loss has them meant.

    The softmax; for mse and bce the sigmoids, scaled to sum to one. Activations that mse compares
    with zeros and ones need not lie between these: then it is the probabilities nearest to them,
    in squared error too.
    """
    if config.train.loss == "cross_entropy":
        return logits.softmax(dim=1)
    if takes_activation(config):
        return _nearest_probabilities(_output_activation(config.model)(logits))
    # In logarithms, since all the sigmoids of a picture may underflow.
    return functional.logsigmoid(logits).softmax(dim=1)


def log_likelihood(
    config: TrainConfig, logits: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The logarithm (N,) of each picture's true class's probability, as `probabilities` has them.

    Where these can be zero they count as single precision's epsilon at the least, as in
    scikit-learn's `log_loss`.
    """
    if config.train.loss == "cross_entropy":
        logarithms = logits.log_softmax(dim=1)
    elif takes_activation(config):
        least = torch.finfo(torch.float32).eps
        logarithms = probabilities(config, logits).clamp(min=least).log()
    else:
        logarithms = functional.logsigmoid(logits).log_softmax(dim=1)
    return logarithms.gather(1, labels.unsqueeze(1)).squeeze(1)


def _nearest_probabilities(values: torch.Tensor) -> torch.Tensor:
    """The non-negative rows that sum to one and are nearest to (N, classes) values.

    All that stay above zero are shifted by the same; how many do is where the sorted values no
    longer lie above that shift (Held, Wolfe and Crowder 1974).
    """
    falling = values.sort(dim=1, descending=True).values
    excess = falling.cumsum(dim=1) - 1
    counts = torch.arange(1, values.shape[1] + 1, device=values.device)
    # At least one stays; without this, NaN would count none and index out of bounds.
    positive = (falling * counts > excess).sum(dim=1, keepdim=True).clamp(min=1)
    shift = excess.gather(1, positive - 1) / positive
    return (values - shift).clamp(min=0)


def _mse_of_activation(settings: ModelSettings) -> Loss:
    """Mean squared error of the activation against one-hot targets, over pictures and classes."""
    activation = _output_activation(settings)

    def mse_of_activation(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(activation(logits), one_hot(logits, labels))

    return mse_of_activation


def _output_activation(settings: ModelSettings) -> nn.Module:
    activation = layers.activation(settings)
    if layers.widening(settings) > 1 or any(True for _ in activation.parameters()):
        raise UsageError(
            f"mse_of 'activation': {settings.activation} has weights of its own, which outputs "
            'have no place for; use mse_of = "sigmoid" or another activation'
        )
    return activation


def one_hot(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Labels (N) as rows (N, classes) of the logits' type, 1 at the true class.

    torch's own `one_hot` reads the largest label, which on a GPU waits for all steps before.
    """
    return torch.zeros_like(logits).scatter_(1, labels.unsqueeze(1), 1.0)
