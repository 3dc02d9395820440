from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import nn

from optuna_study.config.settings import ModelSettings
from optuna_study.errors import UsageError
from optuna_study.training.build_model import build_model, initialise, initialised_model

Layers = tuple[nn.Conv2d, nn.BatchNorm2d, nn.Linear]


def drawn(name: str, std: float = 0.02, seed: int = 1) -> Layers:
    layers = nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.Linear(300, 400)
    initialise(nn.Sequential(*layers), name, std, torch.Generator().manual_seed(seed))
    return layers


@pytest.mark.parametrize(
    ("name", "conv", "dense"),
    [
        ("normal", 0.05, 0.05),
        ("xavier", (2 / (32 * 9 + 64 * 9)) ** 0.5, (2 / 700) ** 0.5),
        ("he", (2 / (32 * 9)) ** 0.5, (2 / 300) ** 0.5),
    ],
)
def test_deviations(name: str, conv: float, dense: float) -> None:
    model = drawn(name, std=0.05)
    assert model[0].weight.std().item() == pytest.approx(conv, rel=0.03)
    assert model[2].weight.std().item() == pytest.approx(dense, rel=0.03)
    assert abs(model[2].weight.mean().item()) < dense / 100


def test_truncated_normal_is_cut_at_two_deviations() -> None:
    weight = drawn("truncated_normal", std=0.02)[2].weight
    assert 0.0399 < weight.abs().max().item() <= 0.04
    # The deviation of a normal cut at two deviations is 0.8796 of the whole one's.
    assert weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.02)


@pytest.mark.parametrize("name", ["normal", "truncated_normal"])
def test_the_least_deviation_that_a_study_file_may_have_draws_weights(name: str) -> None:
    (least,) = (e.metadata["low"] for e in fields(ModelSettings) if e.name == "initialisation_std")
    weight = drawn(name, std=least)[2].weight
    assert weight.isfinite().all()
    assert 0.8 * least < weight.std().item() < 1.1 * least


def test_zeros() -> None:
    assert not drawn("zeros")[0].weight.any()
    assert not drawn("zeros")[2].weight.any()


@pytest.mark.parametrize("name", ["zeros", "normal", "truncated_normal", "xavier", "he"])
def test_biases_are_zero_and_normalisation_is_left_alone(name: str) -> None:
    model = drawn(name)
    for layer in (model[0], model[2]):
        assert layer.bias is not None
        assert not layer.bias.any()
    assert model[1].weight.eq(1).all()


def test_weights_follow_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = drawn("he")[2].weight
    torch.manual_seed(2)
    assert drawn("he")[2].weight.equal(first)
    assert not drawn("he", seed=2)[2].weight.equal(first)


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"initialisation 'xaver': .*did you mean 'xavier'\?"):
        drawn("xaver")


class Gate(nn.Module):
    """An activation with a weight of its own, which no initialisation of ours draws."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), torch.nan).uniform_(0, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def test_a_weight_of_one_s_own_layer_follows_from_the_seed() -> None:
    settings = ModelSettings(name="lenet", initialisation="he", activation=f"{__name__}:Gate")
    sizes = {"channels": 3, "image_size": 32, "classes": 5}
    torch.manual_seed(1)
    first = initialised_model(settings, **sizes, seed=3).state_dict()
    torch.manual_seed(2)
    again = initialised_model(settings, **sizes, seed=3).state_dict()
    for name, weight in first.items():
        assert torch.equal(weight, again[name]), name


def test_weights_that_are_drawn_anew_are_those_of_layers_that_drew_first() -> None:
    settings = ModelSettings(name="lenet", initialisation="he", activation="prelu")
    sizes = {"channels": 3, "image_size": 32, "classes": 5}
    made = initialised_model(settings, **sizes, seed=3).state_dict()
    drawn_first = build_model(settings, **sizes)
    initialise(drawn_first, "he", settings.initialisation_std, torch.Generator().manual_seed(3))
    assert list(made) == list(drawn_first.state_dict())
    for name, weight in drawn_first.state_dict().items():
        assert torch.equal(made[name], weight), name
