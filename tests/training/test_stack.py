from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from optuna_study.config.settings import ModelSettings
from optuna_study.errors import UsageError
from optuna_study.training.layers import (
    LocalResponseNorm,
    Stack,
    require_size,
    require_variant,
    scaled,
)


def stack(size: int = 9, **changes: Any) -> Stack:
    return Stack(ModelSettings(**{"dropout": 0.3, **changes}), 3, size)


def kinds(made: Stack) -> list[str]:
    return [type(layer).__name__ for layer in made.layers]


@pytest.mark.parametrize("width", [0.01, 0.25, 1.0, 2.0])
@pytest.mark.parametrize("multiple", [1, 8])
def test_scaled_counts_are_multiples_and_never_nothing(width: float, multiple: int) -> None:
    for count in (6, 96, 4096):
        found = scaled(count, width, multiple)
        assert found >= multiple
        assert found % multiple == 0
        assert abs(found - count * width) <= max(multiple, multiple / 2)


def test_the_shape_is_known_behind_every_layer() -> None:
    made = stack()
    values = torch.zeros(2, 3, 9, 9)
    done = 0

    def follow() -> torch.Tensor:
        nonlocal values, done
        for layer in made.layers[done:]:
            values = layer(values)
        done = len(made.layers)
        return values

    made.convolution(4, 3, stride=2)
    assert follow().shape == (2, made.channels, made.size, made.size) == (2, 4, 5, 5)
    made.convolution(6, 5, padding=0)
    assert follow().shape == (2, made.channels, made.size, made.size) == (2, 6, 1, 1)
    made.pool()
    assert (done, made.size) == (len(made.layers), 1)  # nothing to pool
    made.flatten()
    made.dense(7)
    assert follow().shape == (2, made.channels) == (2, 7)
    assert made.classify(5)(torch.zeros(2, 3, 9, 9)).shape == (2, 5)


def test_large_maps_are_averaged_before_the_dense_layers() -> None:
    made = stack(size=20)
    made.flatten(largest=6)
    assert made.channels == 3 * 36
    assert made.layers[0](torch.zeros(1, 3, 20, 20)).shape == (1, 3, 6, 6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["Conv2d", "ReLU", "Flatten", "Linear", "ReLU", "Dropout"]),
        ({"dropout": 0.0}, ["Conv2d", "ReLU", "Flatten", "Linear", "ReLU"]),
        (
            {"normalisation": "batch", "dropout": 0.0},
            ["Conv2d", "BatchNorm2d", "ReLU", "Flatten", "Linear", "BatchNorm1d", "ReLU"],
        ),
        (
            {"normalisation": "layer", "normalisation_place": "after"},
            ["Conv2d", "ReLU", "GroupNorm", "Flatten", "Linear", "ReLU", "LayerNorm", "Dropout"],
        ),
        (
            {"normalisation": "lrn"},
            ["Conv2d", "LocalResponseNorm", "ReLU", "Flatten", "Linear", "ReLU", "Dropout"],
        ),
    ],
)
def test_order(changes: dict[str, Any], expected: list[str]) -> None:
    made = stack(**changes)
    made.convolution(4, 3)
    made.flatten()
    made.dense(4)
    assert kinds(made) == expected


@pytest.mark.parametrize("own", ["plain", "overlapping"])
@pytest.mark.parametrize(("pooling", "window"), [("plain", 2), ("overlapping", 3)])
def test_pooling_is_a_setting_and_that_of_torch(own: str, pooling: str, window: int) -> None:
    values = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    chosen = Stack(ModelSettings(pooling=pooling), 3, 9, {"pooling": {"": own}})
    chosen.pool()
    (pool,) = chosen.layers
    expected = functional.max_pool2d(values, window, stride=2)
    assert pool(values).equal(expected)
    assert expected.shape == (2, 3, chosen.size, chosen.size)
    by_default = Stack(ModelSettings(), 3, 9, {"pooling": {"default": pooling}})
    by_default.pool()
    assert by_default.layers[0](values).equal(expected)


@pytest.mark.parametrize(("pooling", "least"), [("plain", 2), ("overlapping", 3)])
def test_a_map_smaller_than_the_window_is_not_pooled(pooling: str, least: int) -> None:
    for size, layers in ((least - 1, 0), (least, 1)):
        made = stack(size=size, pooling=pooling)
        made.pool()
        assert len(made.layers) == layers


def test_the_models_own_normalisation_stands_for_default_alone() -> None:
    own = {"normalisation": {"": "batch"}, "normalisation_place": {"": "after"}}
    assert Stack(ModelSettings(), 3, 8, own).normalisation == "batch"
    named = ModelSettings(normalisation="none", normalisation_place="before")
    made = Stack(named, 3, 8, own)
    assert (made.normalisation, made.position) == ("none", "before")


def test_a_place_for_local_response_norm_can_be_refused() -> None:
    made = stack(normalisation="lrn")
    made.convolution(4, 3, response=False)
    assert not any(isinstance(layer, LocalResponseNorm) for layer in made.layers)


def test_maxout_is_fed_by_twice_the_channels() -> None:
    made = stack(activation="maxout", normalisation="batch")
    made.convolution(4, 3)
    convolution, norm, _ = made.layers
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert (convolution.out_channels, norm.num_features, made.channels) == (8, 8, 4)


def test_refusals_name_the_model() -> None:
    settings = ModelSettings(name="vgg", variant="vgg61")
    with pytest.raises(UsageError, match=r"variant 'vgg61': vgg has no .* did you mean 'vgg16'\?"):
        require_variant(settings, ("default", "vgg16"))
    with pytest.raises(UsageError, match="image_size 3: vgg needs pictures of at least 4 pixels"):
        require_size(settings, 3, 4)
