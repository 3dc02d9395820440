from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from optuna_study.config.settings import ModelSettings
from optuna_study.errors import UsageError
from optuna_study.training.build_model import build_model, check_model, initialised_model

if TYPE_CHECKING:
    from pathlib import Path

SHAPE: dict[str, Any] = {"channels": 3, "image_size": 16, "classes": 4}


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "our_models.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def linear(settings, *, channels, image_size, classes):\n"
        "    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size ** 2, classes))\n"
        "    nn.init.constant_(model[1].bias, 7.0)\n"
        "    return model\n"
        "def two_classes(settings, *, channels, image_size, classes):\n"
        "    return linear(settings, channels=channels, image_size=image_size, classes=2)\n"
        "def nothing(settings, **shape): return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "our_models"


def test_a_built_in_model() -> None:
    model = build_model(ModelSettings(width=0.05), **SHAPE)
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 4)


def test_a_model_of_ones_own(own_module: str) -> None:
    model = build_model(ModelSettings(name=f"{own_module}:linear"), **SHAPE)
    assert model(torch.zeros(2, 3, 16, 16)).tolist() == [[7.0] * 4] * 2


def test_unknown_model() -> None:
    with pytest.raises(UsageError, match=r"model 'alexnt': unknown, did you mean 'alexnet'\?"):
        build_model(ModelSettings(name="alexnt"), **SHAPE)


def test_what_is_no_model_is_refused(own_module: str) -> None:
    with pytest.raises(UsageError, match=r"gave NoneType; it must give a torch\.nn\.Module"):
        build_model(ModelSettings(name=f"{own_module}:nothing"), **SHAPE)


def test_weights_follow_from_the_seed_whatever_was_drawn_before() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.rand(3)
        model = initialised_model(ModelSettings(width=0.05), **SHAPE, seed=seed)
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    assert weights(1).equal(weights(1))
    assert not weights(1).equal(weights(2))


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    initialised_model(ModelSettings(width=0.05), **SHAPE, seed=1)
    assert torch.rand(2).equal(expected)


def test_built_in_models_are_initialised() -> None:
    settings = ModelSettings(width=0.05, initialisation="zeros")
    model = initialised_model(settings, **SHAPE, seed=1)
    assert not any(parameter.any() for parameter in model.parameters())


@pytest.mark.parametrize("normalisation", ["none", "batch"])
def test_the_default_initialisation_is_torchs_own(normalisation: str) -> None:
    settings = ModelSettings(
        name="lenet", initialisation="default", normalisation=normalisation, dropout=0.0
    )
    shape = {**SHAPE, "image_size": 32}
    model = initialised_model(settings, **shape, seed=5)
    torch.manual_seed(5)
    plain = build_model(settings, **shape)
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert one.equal(other)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5  # uniform by the number of inputs
            assert layer.bias is not None
            for values in (layer.weight, layer.bias):
                assert 0.5 * bound < values.abs().max().item() <= bound
            assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)


def test_models_of_ones_own_keep_their_weights(own_module: str) -> None:
    settings = ModelSettings(name=f"{own_module}:linear", initialisation="zeros")
    first, second = (initialised_model(settings, **SHAPE, seed=seed) for seed in (1, 1))
    assert dict(first.named_parameters())["1.bias"].tolist() == [7.0] * 4
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert one.equal(other)


def test_checking_counts_parameters_without_memory() -> None:
    settings = ModelSettings(variant="original")
    assert check_model(settings, channels=3, image_size=227, classes=1000) == 60_965_224


def test_a_model_with_the_wrong_output_is_told_of(own_module: str) -> None:
    with pytest.raises(UsageError, match=r"gives \(2, 2\) .* must give \(2, 4\)"):
        check_model(ModelSettings(name=f"{own_module}:two_classes"), **SHAPE)
