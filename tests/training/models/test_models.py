"""What every architecture must keep, and what each of the articles' nets is."""

from __future__ import annotations

import copy
import importlib
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from optuna_study.config.catalogue import ACTIVATIONS, model_names
from optuna_study.config.settings import ModelSettings
from optuna_study.errors import UsageError
from optuna_study.training.build_model import build_model, initialised_model, with_names
from optuna_study.training.layers import Block

if TYPE_CHECKING:
    from collections.abc import Callable

    OnMeta = Callable[..., nn.Module]
    Shapes = Callable[[nn.Module, int, int], list[tuple[int, ...]]]

LEAST_SIZE = {"alexnet": 8, "cnn": 4, "lenet": 4}
VARIANTS = [
    (name, variant)
    for name in model_names()
    for variant in importlib.import_module(f"optuna_study.training.models.{name}").VARIANTS
]
NORMALISATIONS = ("default", "none", "lrn", "batch", "layer", "group")


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a model's parts, in their order."""
    return [layer for part in model.children() for layer in part.children()]


def counts(model: nn.Module) -> list[int]:
    """Weights and biases of each convolution and dense layer."""
    return [
        sum(parameter.numel() for parameter in layer.parameters())
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]


def test_these_models_are_here() -> None:
    expected = ["alexnet", "cnn", "convnet", "lenet", "mlp", "residual", "vgg"]
    assert model_names() == expected


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
@pytest.mark.parametrize("size", [28, 32, 65])
def test_every_variant_gives_logits(on_meta: OnMeta, name: str, variant: str, size: int) -> None:
    model = on_meta(name, size, classes=7, channels=1, variant=variant, width=0.1)
    assert model(torch.empty(2, 1, size, size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", model_names())
@pytest.mark.slow
def test_every_activation(on_meta: OnMeta, name: str) -> None:
    for activation in ACTIVATIONS:
        model = on_meta(name, 32, activation=activation, width=0.2)
        assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10), activation


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.slow
def test_activations_on_either_side_of_every_normalisation(
    on_meta: OnMeta, name: str, place: str
) -> None:
    """With weights of their own or none, and twice as many units before them."""
    for normalisation in NORMALISATIONS:
        for activation in ("relu", "prelu", "maxout"):
            changes = {"normalisation": normalisation, "normalisation_place": place}
            model = on_meta(name, 32, activation=activation, width=0.2, **changes)
            assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


@pytest.mark.slow
@given(
    choice=st.sampled_from(VARIANTS),
    size=st.integers(1, 130),
    channels=st.integers(1, 4),
    width=st.floats(0.01, 1.2),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_size_and_width_work_or_are_refused(
    on_meta: OnMeta, choice: tuple[str, str], size: int, channels: int, width: float
) -> None:
    name, variant = choice
    if size < LEAST_SIZE.get(name, 1):
        with pytest.raises(UsageError, match=f"{name} needs pictures of at least"):
            on_meta(name, size, channels=channels, width=width, variant=variant)
        return
    model = on_meta(name, size, channels=channels, width=width, variant=variant)
    assert model(torch.empty(2, channels, size, size, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("name", model_names())
def test_unknown_variants_are_named(on_meta: OnMeta, name: str) -> None:
    with pytest.raises(UsageError, match=f"variant 'defualt': {name} has no such variant, did"):
        on_meta(name, 32, variant="defualt")


@pytest.mark.parametrize("name", model_names())
def test_a_step_changes_every_weight(name: str) -> None:
    sizes = {"channels": 3, "image_size": 32, "classes": 4}
    model = initialised_model(ModelSettings(name=name, width=0.3, dropout=0.0), **sizes, seed=1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    loss = functional.cross_entropy(model(images), torch.arange(8) % 4)
    torch.autograd.backward(loss)
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.sub_(parameter.grad)
    # The bias before a batch norm has no effect on the loss: rounding is all its gradient.
    for old, new in zip(before, model.parameters(), strict=True):
        assert new.isfinite().all()
        assert new.ndim == 1 or not new.equal(old)


@pytest.mark.parametrize("name", model_names())
def test_maxout_doubles_what_the_layers_before_it_give(on_meta: OnMeta, name: str) -> None:
    """Two sets of weights: twice the outputs of every layer but the last; shortcuts aside."""

    def produced(model: nn.Module) -> list[int]:
        weighted = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
        return [each.weight.shape[0] for each in weighted if each.weight.shape[2:] != (1, 1)]

    plain = on_meta(name, 32, width=0.3)
    widened = on_meta(name, 32, width=0.3, activation="maxout")
    *hidden, last = produced(plain)
    assert produced(widened) == [*(2 * count for count in hidden), last]


def test_layers_have_names(on_meta: OnMeta) -> None:
    norms = {"normalisation": "batch", "dropout": 0.5}
    names = [name for name, _ in on_meta("lenet", 32, **norms).named_parameters()]
    assert names[:4] == [
        "features.conv1.weight",
        "features.conv1.bias",
        "features.norm1.weight",
        "features.norm1.bias",
    ]
    assert names[-2:] == ["classifier.linear3.weight", "classifier.linear3.bias"]
    model = on_meta("mlp", 28, variant="8-8", **norms)
    kinds = ["linear", "norm", "activation", "dropout"]
    expected = ["flatten1", *(f"{kind}{n}" for n in (1, 2) for kind in kinds), "linear3"]
    classifier = model.get_submodule("classifier")
    assert [name for name, _ in classifier.named_children()] == expected
    residual = on_meta("residual", 32, dropout=0.0)
    across = residual.get_submodule("features.block2.shortcut.conv1")
    assert across.stride == (2, 2)


@pytest.mark.parametrize("name", model_names())
@pytest.mark.slow
def test_weights_of_numbered_layers_are_taken_in_whatever_order(name: str) -> None:
    torch.manual_seed(0)
    settings_ = ModelSettings(name=name, normalisation="batch")
    made = [build_model(settings_, channels=1, image_size=32, classes=3) for _ in range(2)]
    numbered = flat(made[0]).state_dict()
    assert "0.weight" in numbered or "1.weight" in numbered
    taken = with_names(dict(sorted(numbered.items())), made[1])
    assert taken.keys() == made[1].state_dict().keys()
    made[1].load_state_dict(taken)
    for known, given_ in zip(made[0].parameters(), made[1].parameters(), strict=True):
        assert torch.equal(known, given_)
    own = made[0].state_dict()
    assert with_names(own, made[1]) is own
    few = {each: value for each, value in numbered.items() if not each.startswith("0.")}
    few.pop("1.weight", None)
    assert with_names(few, nn.Linear(2, 2)) is few  # which nothing takes
    ours = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).state_dict()
    moved = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    assert with_names(ours, moved) is ours  # of one's own, numbered then and now


def flat(model: nn.Module) -> nn.Sequential:
    """A model as earlier versions had it: numbered layers, also within residual blocks."""
    layers = copy.deepcopy(layers_of(model))
    for block in (layer for layer in layers if isinstance(layer, Block)):
        block.body = nn.Sequential(*block.body.children())
        block.closing = nn.Sequential(*block.closing.children())
        if len(list(block.shortcut.children())):
            block.shortcut = nn.Sequential(*block.shortcut.children())
    return nn.Sequential(*layers)


def test_the_mnist_article_s_net(on_meta: OnMeta) -> None:
    model = on_meta("mlp", 28, channels=1)
    assert counts(model) == [784 * 200 + 200, 200 * 10 + 10]
    changes = {"normalisation": "layer", "normalisation_place": "after", "dropout": 0.0}
    model = on_meta("mlp", 28, channels=1, activation="leaky_relu", **changes)
    names = [type(layer).__name__ for layer in layers_of(model)]
    assert names == ["Flatten", "Linear", "LeakyReLU", "LayerNorm", "Linear"]


def test_variants_of_fully_connected_nets_are_their_units(on_meta: OnMeta) -> None:
    assert counts(on_meta("mlp", 1, classes=3, channels=2, variant="100")) == [300, 303]
    assert counts(on_meta("mlp", 28, channels=1, variant="8-8")) == [6280, 72, 90]


def test_the_course_s_small_net_has_four_by_four_features(on_meta: OnMeta, shapes: Shapes) -> None:
    model = on_meta("cnn", 28, channels=1, dropout=0.0)
    assert shapes(model, 1, 28) == [
        (6, 24, 24),
        (6, 12, 12),
        (6, 8, 8),
        (6, 4, 4),
        (50,),
        (10,),
    ]
    assert counts(model) == [156, 906, 4850, 510]
    names = [type(layer).__name__ for layer in layers_of(model)]
    stage = ["Conv2d", "ReLU", "MaxPool2d"]
    assert names == [*stage, *stage, "Flatten", "Linear", "ReLU", "Linear"]


def test_lenet_is_lenet(on_meta: OnMeta, shapes: Shapes) -> None:
    model = on_meta("lenet", 32, channels=1)
    assert parameters(model) == 61_706  # the usual count, with ten outputs
    assert parameters(on_meta("lenet", 32, channels=3)) == 62_006
    expected = [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120,), (84,), (10,)]
    assert shapes(model, 1, 32) == expected
    assert shapes(on_meta("lenet", 28, channels=1), 1, 28) == expected


@pytest.mark.parametrize(
    ("variant", "stages", "names"),
    [
        ("default", (2, 2, 2), ["Conv2d", "ReLU"]),
        ("batch_norm", (3, 3, 3), ["Conv2d", "BatchNorm2d", "ReLU"]),
        ("batch_norm_3_2_2", (3, 2, 2), ["Conv2d", "BatchNorm2d", "ReLU"]),
    ],
)
@pytest.mark.slow
def test_the_three_stage_net(
    on_meta: OnMeta, shapes: Shapes, variant: str, stages: tuple[int, ...], names: list[str]
) -> None:
    model = on_meta("convnet", 32, variant=variant, dropout=0.0)
    sides = [
        (32, side, side)
        for size, convolutions in zip((32, 16, 8), stages, strict=True)
        for side in [size] * convolutions + [size // 2]
    ]
    assert shapes(model, 3, 32) == [*sides, (10,)]
    first = 32 * 3 * 9 + 32
    further = [32 * 32 * 9 + 32] * (sum(stages) - 1)
    assert counts(model) == [first, *further, 512 * 10 + 10]
    expected = [name for stage in stages for name in [*(names * stage), "MaxPool2d"]]
    assert [type(layer).__name__ for layer in layers_of(model)] == [*expected, "Flatten", "Linear"]


def test_the_three_stage_net_without_a_stage_is_one_layer(on_meta: OnMeta) -> None:
    model = on_meta("convnet", 32, variant="one_layer", dropout=0.0)
    assert [type(layer).__name__ for layer in layers_of(model)] == ["Flatten", "Linear"]
    assert counts(model) == [32 * 32 * 3 * 10 + 10]


def test_the_small_vgg_leaves_out_the_last_pool(on_meta: OnMeta, shapes: Shapes) -> None:
    model = on_meta("vgg", 32, dropout=0.0)
    block = ["Conv2d", "BatchNorm2d", "ReLU"]
    pool = ["MaxPool2d"]
    names = [type(layer).__name__ for layer in layers_of(model)]
    assert names == [
        *(block + pool + block + pool),
        *(block * 2 + pool) * 2,
        *(block * 2),
        "Flatten",
        "Linear",
    ]
    assert shapes(model, 3, 32)[-2:] == [(512, 2, 2), (10,)]
    assert counts(model)[-1] == 2048 * 10 + 10


@pytest.mark.parametrize("variant", ["vgg11", "vgg13", "vgg16", "vgg19"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_vgg_has_the_parameters_and_shapes_of_torchvision(
    on_meta: OnMeta, shapes: Shapes, variant: str, norm: str
) -> None:
    from torchvision import models

    with torch.device("meta"):
        theirs = getattr(models, variant + ("_bn" if norm == "batch" else ""))(init_weights=False)
    ours = on_meta("vgg", 224, classes=1000, variant=variant, normalisation=norm)
    assert counts(ours) == counts(theirs)
    assert [tuple(value.shape) for value in ours.state_dict().values()] == [
        tuple(value.shape) for value in theirs.state_dict().values()
    ]
    assert shapes(ours, 3, 224) == shapes(theirs, 3, 224)


def test_vgg16_has_the_parameters_of_the_paper(on_meta: OnMeta) -> None:
    assert parameters(on_meta("vgg", 224, classes=1000, variant="vgg16")) == 138_357_544


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_vgg_computes_what_torchvision_does(on_meta: OnMeta, norm: str) -> None:
    """With its weights; the dense layers, of which it has no narrow form, are left out of both."""
    generator = torch.Generator().manual_seed(4)
    theirs = _features(norm == "batch", generator)
    ours = on_meta("vgg", 64, variant="vgg11", normalisation=norm, width=1.0)
    assert isinstance(ours, nn.Sequential)
    layers = layers_of(ours)
    end = next(place for place, layer in enumerate(layers) if isinstance(layer, nn.Flatten))
    features = nn.Sequential(*layers[:end])
    weights = dict(zip(features.state_dict(), theirs.state_dict().values(), strict=True))
    features.load_state_dict(weights, assign=True)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(features.eval()(images), theirs.eval()(images))


@pytest.mark.slow
def test_a_whole_vgg_computes_what_torchvision_does(on_meta: OnMeta) -> None:
    """Dense layers, too, which torchvision has at their full width alone: 129 M weights."""
    from torchvision import models

    generator = torch.Generator().manual_seed(5)
    with torch.device("meta"):
        theirs = models.vgg11(num_classes=4, init_weights=False)
    theirs = theirs.to_empty(device="cpu").eval()
    for value in theirs.state_dict().values():
        spread = (6 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.1
        value.uniform_(-spread, spread, generator=generator)
    ours = on_meta("vgg", 224, classes=4, variant="vgg11", normalisation="none")
    weights = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(weights, assign=True)
    images = torch.randn(1, 3, 224, 224, generator=generator)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours.eval()(images), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1


def test_residual_blocks_are_those_of_torchvision() -> None:
    from torchvision.models.resnet import BasicBlock

    torch.manual_seed(6)
    settings_ = ModelSettings(name="residual", variant="resnet20", dropout=0.0)
    model = build_model(settings_, channels=3, image_size=16, classes=4).eval()
    layers = layers_of(model)
    values = nn.Sequential(*layers[:3])(torch.randn(2, 3, 16, 16))
    for block in (layer for layer in layers if type(layer).__name__ == "Block"):
        convolutions = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
        for layer in convolutions:
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)  # theirs have none
        shrinks = len(convolutions) == 3
        planes = convolutions[0].out_channels
        down = None
        if shrinks:
            assert (convolutions[2].kernel_size, convolutions[2].stride) == ((1, 1), (2, 2))
            down = nn.Sequential(
                nn.Conv2d(convolutions[2].in_channels, planes, 1, 2, bias=False),
                nn.BatchNorm2d(planes),
            )
        theirs = BasicBlock(convolutions[0].in_channels, planes, 2 if shrinks else 1, down)
        own = {k: v for k, v in block.state_dict().items() if not _bias_of_convolution(block, k)}
        theirs.load_state_dict(dict(zip(theirs.state_dict(), own.values(), strict=True)))
        expected = theirs.eval()(values)
        torch.testing.assert_close(block(values), expected)
        values = expected
    assert values.shape == (2, 64, 4, 4)


def _bias_of_convolution(block: nn.Module, name: str) -> bool:
    owner, _, attribute = name.rpartition(".")
    return attribute == "bias" and isinstance(block.get_submodule(owner), nn.Conv2d)


def test_residual_nets_have_as_many_layers_as_their_names_say(on_meta: OnMeta) -> None:
    for variant, depth in (("resnet8", 8), ("resnet20", 20), ("resnet32", 32)):
        model = on_meta("residual", 32, variant=variant)
        weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        shortcuts = [m for m in weighted if getattr(m, "kernel_size", None) == (1, 1)]
        assert len(shortcuts) == 2
        assert len(weighted) - len(shortcuts) == depth


@pytest.mark.parametrize("depth", [8, 20, 32])
def test_a_plain_net_is_a_residual_one_without_its_shortcuts(on_meta: OnMeta, depth: int) -> None:
    def layers(variant: str) -> list[tuple[int, ...]]:
        return [
            (layer.in_channels, layer.out_channels, layer.stride[0])
            for layer in on_meta("residual", 32, variant=variant).modules()
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
        ]

    assert len(layers(f"plain{depth}")) == depth - 1
    assert layers(f"plain{depth}") == layers(f"resnet{depth}")
    plain = on_meta("residual", 32, variant=f"plain{depth}", dropout=0.0)
    stage = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert [type(layer).__name__ for layer in layers_of(plain)] == [
        *(stage * (depth - 1)),
        "AdaptiveAvgPool2d",
        "Flatten",
        "Linear",
    ]


def _features(batch_norm: bool, generator: torch.Generator) -> nn.Module:
    from torchvision.models import vgg

    layers: Any = vgg.make_layers(vgg.cfgs["A"], batch_norm=batch_norm)
    for value in layers.state_dict().values():
        if value.ndim == 4:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif value.is_floating_point():
            value.uniform_(0.1, 1, generator=generator)
    return nn.Sequential(*layers)
