from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from optuna_study.config.catalogue import ACTIVATIONS
from optuna_study.config.settings import ModelSettings
from optuna_study.errors import UsageError
from optuna_study.training import layers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("channels", [1, 2, 4, 8, 96])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_local_response_norm_is_that_of_torch(
    channels: int, size: int, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(channels)
    values = (10 * torch.randn(3, channels, 5, 6, dtype=torch.float64)).to(
        memory_format=memory_format
    )
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    # A large alpha, so that the window matters.
    got = layers.LocalResponseNorm(size, alpha=0.3, k=2.0)(ours)
    expected = nn.LocalResponseNorm(size, alpha=0.3, beta=0.75, k=2.0)(theirs)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(values)
    torch.autograd.backward([got, expected], [upstream, upstream])
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-11, atol=1e-11)


def test_local_response_norm_in_single_precision() -> None:
    values = torch.randn(4, 96, 13, 13, generator=torch.Generator().manual_seed(1)) * 30
    expected = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)(values)
    torch.testing.assert_close(layers.LocalResponseNorm()(values), expected)


def test_local_response_norm_passes_the_gradient_check() -> None:
    values = torch.randn(2, 7, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layers.LocalResponseNorm(5, alpha=0.5), values)


def test_local_response_norm_needs_a_centre() -> None:
    with pytest.raises(ValueError, match="no centre"):
        layers.LocalResponseNorm(4)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_local_response_norm_on_cuda() -> None:
    values = torch.randn(4, 96, 27, 27, device="cuda") * 30
    expected = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)(values)
    torch.testing.assert_close(layers.LocalResponseNorm()(values), expected)


EXPECTED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": torch.tanh,
    "relu": lambda x: x.clamp(min=0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.2 * x),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "prelu": lambda x: torch.where(x > 0, x, 0.25 * x),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + torch.exp(-x)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_activation(name: str) -> None:
    values = torch.linspace(-3, 3, 25)
    layer = layers.activation(ModelSettings(activation=name, slope=0.2))
    torch.testing.assert_close(layer(values), EXPECTED[name](values))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_the_catalogue_can_be_made_and_trained(name: str) -> None:
    values = torch.linspace(-2, 2, 12).view(3, 4).requires_grad_()
    layers.activation(ModelSettings(activation=name))(values).sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(3, 8), (2, 8, 4, 5)])
def test_maxout_takes_the_larger_of_two_neighbouring_channels(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    layer = layers.activation(ModelSettings(activation="maxout"))
    expected = values.numpy().reshape(shape[0], 4, 2, *shape[2:]).max(axis=2)
    assert layer(values).numpy().tolist() == expected.tolist()


def test_maxout_alone_asks_for_twice_the_channels() -> None:
    widenings = {name: layers.widening(ModelSettings(activation=name)) for name in ACTIVATIONS}
    assert {name for name, factor in widenings.items() if factor != 1} == {"maxout"}
    assert widenings["maxout"] == 2
    assert layers.widening(ModelSettings(activation="torch:atan")) == 1


def test_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"activation 'rleu': unknown, did you mean 'relu'\?"):
        layers.activation(ModelSettings(activation="rleu"))


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "our_activations.py").write_text(
        "import torch\n"
        "class Cube(torch.nn.Module):\n"
        "    def forward(self, x): return x ** 3\n"
        "def cube(x): return x ** 3\n"
        "def made(): return Cube()\n"
        "def scaled(x, factor=1.0): return factor * x ** 3\n"
        "def nothing(): return 5\n"
        "number = 5\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "our_activations"


@pytest.mark.parametrize("attribute", ["Cube", "cube", "made", "scaled"])
def test_activation_of_ones_own(own_module: str, attribute: str) -> None:
    layer = layers.activation(ModelSettings(activation=f"{own_module}:{attribute}"))
    assert isinstance(layer, nn.Module)
    assert layer(torch.tensor([2.0, -1.0])).tolist() == [8.0, -1.0]


def test_torchs_own_functions_can_be_named() -> None:
    values = torch.linspace(-1, 1, 5)
    layer = layers.activation(ModelSettings(activation="torch:atan"))
    torch.testing.assert_close(layer(values), values.atan())


@pytest.mark.parametrize("attribute", ["nothing", "number"])
def test_what_is_no_activation_is_refused(own_module: str, attribute: str) -> None:
    with pytest.raises(UsageError, match=f"activation '{own_module}:{attribute}'"):
        layers.activation(ModelSettings(activation=f"{own_module}:{attribute}"))


def test_layer_norm_of_maps_is_over_channels_and_positions() -> None:
    values = torch.randn(3, 8, 4, 4) * 5 + 2
    layer = layers.normalisation("layer", 8)
    assert layer is not None
    torch.testing.assert_close(
        layer(values), nn.functional.layer_norm(values, values.shape[1:]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("channels", "groups"), [(24, 8), (96, 32), (64, 32), (10, 2), (7, 1)])
def test_group_norm_has_equal_groups(channels: int, groups: int) -> None:
    layer = layers.normalisation("group", channels)
    assert isinstance(layer, nn.GroupNorm)
    assert layer.num_groups == groups


@pytest.mark.parametrize("name", ["none", "lrn"])
def test_nothing_is_normalised_per_channel_otherwise(name: str) -> None:
    assert layers.normalisation(name, 8) is None


def test_local_response_norm_stands_behind_convolutions_alone_and_where_it_is_asked_for() -> None:
    lrn = layers.local_response_norm(ModelSettings())
    assert layers.normalisation("lrn", 8, lrn=lrn) is lrn
    assert layers.normalisation("lrn", 8, lrn=lrn, dense=True) is None
    assert layers.normalisation("batch", 8, lrn=lrn) is not lrn


@pytest.mark.parametrize(("formula", "share"), [("article", 1.0), ("torch", 1 / 5)])
def test_local_response_norm_has_the_formula_of_the_setting(formula: str, share: float) -> None:
    """b = a / (2 + alpha * sum of a^2 over five channels)^0.75, in NumPy."""
    values = 30 * np.random.default_rng(3).normal(size=(2, 7, 3, 4))
    around = np.pad(values**2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    sums = sum(around[:, shift : shift + 7] for shift in range(5))
    expected = values / (2 + 1e-4 * share * sums) ** 0.75
    norm = layers.local_response_norm(ModelSettings(lrn_formula=formula))
    assert np.allclose(norm(torch.from_numpy(values)).numpy(), expected, rtol=1e-12)


def test_the_two_formulas_differ_by_what_activations_are_large() -> None:
    values = torch.full((1, 5, 1, 1), 30.0)
    article, torchs = (
        layers.local_response_norm(ModelSettings(lrn_formula=formula))(values)[0, 2].item()
        for formula in ("article", "torch")
    )
    assert article / torchs == pytest.approx((2.09 / 2.45) ** 0.75)
