from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from optuna_study.config.settings import ModelSettings
from optuna_study.errors import UsageError
from optuna_study.training.layers import LocalResponseNorm
from optuna_study.training.models import alexnet

NORMALISATIONS = ("default", "none", "lrn", "batch", "layer", "group")


def on_meta(size: int, classes: int = 5, channels: int = 3, **changes: Any) -> nn.Sequential:
    with torch.device("meta"):
        return alexnet.build(
            ModelSettings(**changes), channels=channels, image_size=size, classes=classes
        )


def counts(model: nn.Module) -> list[int]:
    return [
        sum(parameter.numel() for parameter in layer.parameters())
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]


def layers_of(model: nn.Sequential) -> list[nn.Module]:
    return [layer for part in model.children() for layer in part.children()]


def kinds(model: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in layers_of(model)]


def test_original_has_the_parameters_of_the_article() -> None:
    model = on_meta(227, classes=1000, variant="original")
    assert counts(model) == [
        34_944,
        307_456,
        885_120,
        663_936,
        442_624,
        37_752_832,
        16_781_312,
        4_097_000,
    ]
    assert sum(parameter.numel() for parameter in model.parameters()) == 60_965_224


def test_original_has_the_maps_of_the_article() -> None:
    model = on_meta(227, classes=1000, variant="original").eval()
    values = torch.empty(1, 3, 227, 227, device="meta")
    shapes = []
    for layer in layers_of(model):
        values = layer(values)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            shapes.append(tuple(values.shape[1:]))
    assert shapes == [
        (96, 55, 55),
        (96, 27, 27),
        (256, 27, 27),
        (256, 13, 13),
        (384, 13, 13),
        (384, 13, 13),
        (256, 13, 13),
        (256, 6, 6),
        (4096,),
        (4096,),
        (1000,),
    ]


def test_original_has_the_order_of_the_article() -> None:
    stage = ["Conv2d", "ReLU", "MaxPool2d", "LocalResponseNorm"]
    dense = ["Linear", "ReLU", "Dropout"]
    middle = ["Conv2d", "ReLU", "Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Flatten"]
    model = on_meta(227, variant="original")
    assert kinds(model) == [*stage, *stage, *middle, *dense, *dense, "Linear"]
    pools = [layer for layer in layers_of(model) if isinstance(layer, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 2)] * 3
    norms = [layer for layer in layers_of(model) if isinstance(layer, LocalResponseNorm)]
    assert [(norm.k, norm.size, norm.alpha) for norm in norms] == [(2.0, 5, 1e-4)] * 2


def test_original_computes_what_its_parts_say() -> None:
    """Against a forward pass in torch's own functions, groups as two convolutions."""
    torch.manual_seed(0)
    settings = ModelSettings(variant="original", width=0.1)
    model = alexnet.build(settings, channels=3, image_size=227, classes=4).eval()
    parameters = list(model.parameters())
    weights = list(zip(parameters[::2], parameters[1::2], strict=True))
    images = torch.randn(2, 3, 227, 227)

    def in_two(values: torch.Tensor, layer: int, padding: int) -> torch.Tensor:
        weight, bias = weights[layer]
        halves = zip(values.chunk(2, 1), weight.chunk(2), bias.chunk(2), strict=True)
        return torch.cat([functional.conv2d(*half, padding=padding) for half in halves], dim=1)

    def pooled(values: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(functional.relu(values), 3, 2)

    def normed(values: torch.Tensor) -> torch.Tensor:
        return functional.local_response_norm(values, 5, alpha=1e-4, beta=0.75, k=2.0)

    with torch.no_grad():
        values = normed(pooled(functional.conv2d(images, *weights[0], stride=4)))
        values = normed(pooled(in_two(values, 1, padding=2)))
        values = functional.relu(functional.conv2d(values, *weights[2], padding=1))
        values = functional.relu(in_two(values, 3, padding=1))
        values = pooled(in_two(values, 4, padding=1)).flatten(1)
        for layer in (5, 6):
            values = functional.relu(functional.linear(values, *weights[layer]))
        expected = functional.linear(values, *weights[7])
        torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-6)


def test_single_tower_is_the_default_and_has_no_groups() -> None:
    model = on_meta(227, classes=1000)
    assert counts(model) == counts(on_meta(227, classes=1000, variant="single_tower"))
    assert counts(model)[1] == 256 * 5 * 5 * 96 + 256
    assert all(layer.groups == 1 for layer in layers_of(model) if isinstance(layer, nn.Conv2d))
    assert kinds(model) == kinds(on_meta(227, normalisation="none"))


@pytest.mark.parametrize(
    ("variant", "fifth"),
    [("single_gpu", ["Conv2d"]), ("batch_norm", ["Conv2d", "ReLU", "BatchNorm2d"])],
)
def test_single_gpu_variants_are_those_of_the_article(variant: str, fifth: list[str]) -> None:
    model = on_meta(227, variant=variant, dropout=0.25)
    stage = ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d", "Dropout"]
    plain = ["Conv2d", "ReLU", "BatchNorm2d"]
    dense = ["Linear", "ReLU", "BatchNorm1d", "Dropout"]
    assert kinds(model) == [
        *stage,
        *stage,
        *plain,
        *plain,
        *fifth,
        "MaxPool2d",
        "Dropout",
        "Flatten",
        *dense,
        *dense,
        "Linear",
    ]
    paddings = [layer.padding for layer in layers_of(model) if isinstance(layer, nn.Conv2d)]
    assert paddings == [(5, 5), (2, 2), (1, 1), (1, 1), (1, 1)]
    assert {layer.p for layer in layers_of(model) if isinstance(layer, nn.Dropout)} == {0.25}


@pytest.mark.parametrize("normalisation", ["batch", "layer", "group"])
def test_other_variants_normalise_before_the_activation(normalisation: str) -> None:
    names = kinds(on_meta(64, normalisation=normalisation, activation="tanh"))
    before = [names[place - 1] for place, name in enumerate(names) if name == "Tanh"]
    expected = {
        "batch": ["BatchNorm2d"] * 5 + ["BatchNorm1d"] * 2,
        "layer": ["GroupNorm"] * 5 + ["LayerNorm"] * 2,
        "group": ["GroupNorm"] * 7,
    }
    assert before == expected[normalisation]


@pytest.mark.parametrize("variant", ["default", "batch_norm"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_the_place_of_normalisation_is_a_setting(variant: str, place: str) -> None:
    names = kinds(on_meta(64, variant=variant, normalisation="batch", normalisation_place=place))
    pairs = [names[spot - 1 : spot + 2] for spot, name in enumerate(names) if name == "ReLU"]
    position = 0 if place == "before" else 2
    assert [pair[position] for pair in pairs] == ["BatchNorm2d"] * 5 + ["BatchNorm1d"] * 2


@pytest.mark.parametrize("variant", alexnet.VARIANTS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_maxout_doubles_the_layers_before_it(variant: str, place: str) -> None:
    changes: dict[str, Any] = {"variant": variant, "width": 0.25, "normalisation_place": place}
    plain = on_meta(227, normalisation="batch", **changes)
    model = on_meta(227, normalisation="batch", activation="maxout", **changes)

    def produced(layers: nn.Module) -> list[int]:
        weighted = [each for each in layers.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
        return [each.weight.shape[0] for each in weighted]

    def normalised(layers: nn.Module) -> list[int]:
        norms = nn.BatchNorm2d | nn.BatchNorm1d
        return [each.num_features for each in layers.modules() if isinstance(each, norms)]

    *hidden, last = produced(plain)
    doubled = [2 * count for count in hidden]
    if variant == "single_gpu":
        doubled[4] = hidden[4]  # bare, so it feeds no maxout
    assert produced(model) == [*doubled, last]
    factor = 2 if place == "before" else 1
    assert normalised(model) == [factor * count for count in normalised(plain)]
    assert model(torch.empty(2, 3, 227, 227, device="meta")).shape == (2, 5)


@pytest.mark.slow
def test_the_torchvision_variant_is_torchvisions_model() -> None:
    from torchvision.models import alexnet as theirs

    torch.manual_seed(1)
    reference = theirs(weights=None, num_classes=5).eval()
    ours = on_meta(224, variant="torchvision")
    assert counts(ours) == counts(reference)
    weights = dict(zip(ours.state_dict(), reference.state_dict().values(), strict=True))
    ours.load_state_dict(weights, assign=True)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), reference(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", alexnet.VARIANTS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_variant_takes_every_normalisation(variant: str, normalisation: str) -> None:
    model = on_meta(32, variant=variant, normalisation=normalisation, width=0.1)
    assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 5)


@pytest.mark.slow
@given(
    size=st.integers(8, 400),
    channels=st.sampled_from([1, 3]),
    width=st.floats(0.01, 1.5),
    variant=st.sampled_from(alexnet.VARIANTS),
)
def test_any_size_and_width_work(size: int, channels: int, width: float, variant: str) -> None:
    model = on_meta(size, channels=channels, width=width, variant=variant)
    assert model(torch.empty(2, channels, size, size, device="meta")).shape == (2, 5)


@pytest.mark.parametrize(
    ("size", "stem", "side"),
    [(227, (11, 4), 6), (128, (11, 4), 2), (64, (5, 2), 3), (32, (3, 1), 3), (8, (3, 1), 1)],
)
def test_first_layer_shrinks_with_the_picture(size: int, stem: tuple[int, int], side: int) -> None:
    model = on_meta(size)
    first = layers_of(model)[0]
    assert isinstance(first, nn.Conv2d)
    assert (first.kernel_size[0], first.stride[0]) == stem
    dense = next(layer for layer in layers_of(model) if isinstance(layer, nn.Linear))
    assert dense.in_features == 256 * side * side


def test_dense_layers_do_not_grow_beyond_227_pixels() -> None:
    assert counts(on_meta(448)) == counts(on_meta(227))


def test_no_dropout_layers_without_dropout() -> None:
    assert "Dropout" not in kinds(on_meta(64, dropout=0.0))


def test_plain_pools_leave_the_rest_as_it_is() -> None:
    plain = on_meta(48, pooling="plain")
    assert kinds(plain) == kinds(on_meta(48))
    pools = [layer for layer in layers_of(plain) if isinstance(layer, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(2, 2)] * 3
    assert plain(torch.empty(2, 3, 48, 48, device="meta")).shape == (2, 5)


def test_unknown_variant_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"variant 'orignal': .* did you mean 'original'\?"):
        on_meta(64, variant="orignal")


def test_pictures_below_8_pixels_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 8 pixels"):
        on_meta(7)
