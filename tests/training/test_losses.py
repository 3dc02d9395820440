from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from optuna_study.config.settings import TrainConfig, with_settings
from optuna_study.errors import UsageError
from optuna_study.training import losses
from optuna_study.training.divergence import bias_gradient, chance_loss

if TYPE_CHECKING:
    from collections.abc import Callable

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0]])
LABELS = torch.tensor([0, 2])


def with_loss(name: str, **settings: Any) -> TrainConfig:
    return with_settings(TrainConfig(), {"loss": name, **settings})


def get_loss(name: str, **settings: Any) -> Callable[..., torch.Tensor]:
    return losses.get_loss(with_loss(name, **settings))


def sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-values)))


def test_losses_against_numpy() -> None:
    logits, one_hot = LOGITS.double().numpy(), np.eye(3)[LABELS.numpy()]
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sigmoids = sigmoid(logits)
    expected = {
        "cross_entropy": -np.log(softmax[[0, 1], [0, 2]]).mean(),
        "mse": ((sigmoids - one_hot) ** 2).mean(),
        "bce": -(one_hot * np.log(sigmoids) + (1 - one_hot) * np.log(1 - sigmoids)).mean(),
    }
    for name, value in expected.items():
        assert get_loss(name)(LOGITS, LABELS).item() == pytest.approx(value, rel=1e-6)


def test_mse_of_the_activation_compares_it_with_the_targets() -> None:
    leaky = np.where(LOGITS.numpy() > 0, 1.0, 0.02) * LOGITS.numpy()
    expected = ((leaky - np.eye(3)[LABELS.numpy()]) ** 2).mean()
    loss = get_loss("mse", mse_of="activation", activation="leaky_relu", slope=0.02)
    assert loss(LOGITS, LABELS).item() == pytest.approx(expected, rel=1e-6)
    other = get_loss("cross_entropy", mse_of="activation", activation="leaky_relu")
    assert other is losses.cross_entropy, "only mse reads it"


@pytest.mark.parametrize("name", ["maxout", "prelu"])
def test_outputs_have_no_place_for_weights_of_an_activation(name: str) -> None:
    with pytest.raises(UsageError, match=f"mse_of 'activation': {name} has weights of its own"):
        get_loss("mse", mse_of="activation", activation=name)


def test_outputs_are_what_the_loss_compares_with_the_targets() -> None:
    logits, labels = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.25, 4.0]]), torch.tensor([0, 2])
    targets = functional.one_hot(labels, 3).float()
    for settings, compare in (
        ({"loss": "mse"}, functional.mse_loss),
        ({"loss": "bce"}, functional.binary_cross_entropy),
        (
            {"loss": "mse", "mse_of": "activation", "activation": "leaky_relu"},
            functional.mse_loss,
        ),
        (
            {"loss": "cross_entropy"},
            lambda outputs, _: functional.nll_loss(outputs.log(), labels),
        ),
    ):
        config = with_settings(TrainConfig(), settings)
        outputs = losses.outputs(config, logits)
        loss = losses.get_loss(config)(logits, labels)
        assert compare(outputs, targets).item() == pytest.approx(loss.item())


def test_probabilities_sum_to_one() -> None:
    softmax = losses.probabilities(with_loss("cross_entropy"), LOGITS)
    torch.testing.assert_close(softmax, LOGITS.softmax(1))
    scaled = LOGITS.sigmoid() / LOGITS.sigmoid().sum(1, keepdim=True)
    for name in ("mse", "bce"):
        torch.testing.assert_close(losses.probabilities(with_loss(name), LOGITS), scaled)
    drowned = losses.probabilities(with_loss("bce"), torch.tensor([[-400.0, -401.0]]))
    torch.testing.assert_close(drowned, torch.tensor([[-400.0, -401.0]]).softmax(1))


OF_IDENTITY = {"mse_of": "activation", "activation": "leaky_relu", "slope": 1.0}


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),  # the targets themselves are a certain answer
        ([0.2, 0.5, 0.3], [0.2, 0.5, 0.3]),  # probabilities stay what they are
        ([1.4, 0.8, -0.5], [0.8, 0.2, 0.0]),
        ([0.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]),
        ([-0.1, -0.3, -9.0], [0.6, 0.4, 0.0]),
    ],
)
def test_activations_that_mse_compares_give_the_nearest_probabilities(
    outputs: list[float], expected: list[float]
) -> None:
    found = losses.probabilities(with_loss("mse", **OF_IDENTITY), torch.tensor([outputs]))
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_the_nearest_probabilities_are_those_that_a_search_finds() -> None:
    outputs = torch.randn(40, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    found = losses.probabilities(with_loss("mse", **OF_IDENTITY), outputs)
    torch.testing.assert_close(found.sum(1), torch.ones(40, dtype=torch.float64))
    assert (found >= 0).all()
    assert found.argmax(1).equal(outputs.argmax(1))
    others = np.random.RandomState(3).dirichlet(np.full(5, 0.3), 20_000)
    distances = ((outputs.numpy()[:, None] - others) ** 2).sum(axis=2).min(axis=1)
    assert ((found - outputs).square().sum(1).numpy() <= distances).all()


def test_outputs_that_are_no_numbers_give_no_probabilities_and_no_error() -> None:
    """On a GPU an index out of bounds would cost the process its device."""
    lost = torch.tensor([[math.nan, 1.0], [0.5, 0.5]])
    found = losses.probabilities(with_loss("mse", **OF_IDENTITY), lost)
    assert found[0].isnan().any()
    assert found[1].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", ["cross_entropy", "mse", "bce"])
@pytest.mark.parametrize("counts", [[10, 10, 10], [25, 4, 1], [7, 0, 3]])
def test_no_constant_answer_costs_less_than_chance(name: str, counts: list[int]) -> None:
    """The chance loss is what gradient descent on a single row of logits comes down to."""
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    row = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([row], max_iter=200, line_search_fn="strong_wolfe")

    def cost() -> torch.Tensor:
        search.zero_grad()
        value = get_loss(name)(row.expand(len(labels), 3), labels)
        torch.autograd.backward(value)
        return value

    search.step(cost)  # type: ignore[no-untyped-call]
    assert chance_loss(name, counts) == pytest.approx(cost().item(), abs=2e-4)


def test_chance_of_even_classes() -> None:
    assert chance_loss("cross_entropy", [9] * 5) == pytest.approx(math.log(5))
    assert chance_loss("mse", [9] * 5) == pytest.approx(0.16)


def gradient_of_biases(
    loss: Callable[..., torch.Tensor], row: torch.Tensor, shares: torch.Tensor
) -> float:
    """The root mean square of the gradient norm of a row of outputs, over batches of eight."""
    draws, draw = 3000, torch.Generator().manual_seed(1)
    biases = row.repeat(draws, 1).requires_grad_()
    labels = torch.multinomial(shares, 8 * draws, replacement=True, generator=draw)
    torch.autograd.backward(loss(biases.repeat_interleave(8, dim=0), labels) * draws)
    assert biases.grad is not None
    return biases.grad.square().sum(dim=1).mean().sqrt().item()


def at_chance(name: str, shares: torch.Tensor) -> torch.Tensor:
    return shares.log() if name == "cross_entropy" else torch.logit(shares)


@pytest.mark.parametrize("name", ["cross_entropy", "mse", "bce"])
@pytest.mark.parametrize("counts", [[10, 10, 10], [25, 4, 1]])
def test_the_gradient_at_chance_level_is_that_of_the_output_biases(
    name: str, counts: list[int]
) -> None:
    shares = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    root = gradient_of_biases(get_loss(name), at_chance(name, shares), shares)
    told = bias_gradient(name, counts, 8, chance_loss(name, counts))
    assert told == pytest.approx(root, rel=0.05)


@pytest.mark.parametrize("name", ["cross_entropy", "mse", "bce", "mse of the activation"])
@pytest.mark.parametrize("counts", [[10, 10, 10], [3] * 10, [25, 4, 1]])
@pytest.mark.parametrize("way", [0.0, 0.3, 0.7])
def test_on_their_way_to_chance_the_output_biases_have_no_more_than_their_loss_tells(
    name: str, counts: list[int], way: float
) -> None:
    """They start at zero, which is chance level for cross entropy and even classes alone."""
    shares = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    takes_activation = name == "mse of the activation"
    name = name.partition(" ")[0]
    settings = {"mse_of": "activation", "activation": "elu"} if takes_activation else {}
    loss = get_loss(name, **settings)
    row = way * (shares if takes_activation else at_chance(name, shares))
    every = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    reached = loss(row.expand(len(every), len(counts)), every).item()
    root = gradient_of_biases(loss, row, shares)
    told = bias_gradient(name, counts, 8, reached, sigmoid=not takes_activation)
    assert 0.5 * told < root < 1.1 * told


def test_unknown_loss() -> None:
    with pytest.raises(UsageError, match=r"loss 'bec': unknown, did you mean 'bce'\?"):
        get_loss("bec")
