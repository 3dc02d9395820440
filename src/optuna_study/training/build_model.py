"""From model settings to a model: one of `training.models`, or one's own."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from optuna_study.config.catalogue import (
    explain_failure,
    import_reference,
    is_reference,
    is_timm,
    model_names,
    starts_pretrained,
)
from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean
from optuna_study.training.backbone.timm_models import build_timm
from optuna_study.training.backbone.timm_weights import timm_weights
from optuna_study.training.backbone.trained_layers import (
    check_layers,
    find_head,
    freeze_layers,
    freeze_statistics,
)
from optuna_study.training.layers import activation
from optuna_study.training.pretrained import fitting_weights, load_pretrained, weights_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from optuna_study.config.settings import ModelSettings

    Filler = Callable[[torch.Tensor, float, torch.Generator], torch.Tensor]

_FILLERS: dict[str, Filler] = {
    "zeros": lambda weight, _std, _generator: nn.init.zeros_(weight),
    "normal": lambda weight, std, generator: nn.init.normal_(weight, std=std, generator=generator),
    # Cut at two standard deviations; torch's own bounds are absolute.
    "truncated_normal": lambda weight, std, generator: nn.init.trunc_normal_(
        weight, std=std, a=-2 * std, b=2 * std, generator=generator
    ),
    "xavier": lambda weight, _std, generator: nn.init.xavier_normal_(weight, generator=generator),
    "he": lambda weight, _std, generator: nn.init.kaiming_normal_(
        weight, nonlinearity="relu", generator=generator
    ),
}

TORCHS_OWN = "default"
LAYERS_WITH_WEIGHTS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def build_model(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Module:
    """A model from (N, channels, image_size, image_size) to (N, classes) logits, as torch makes.

    A reference `package.module:function` is called as `function(settings, channels=, image_size=,
    classes=)`.

    Raises:
        UsageError: an unknown name, variant or activation, a reference that gives no model, or
            pretrained weights that are not here.
    """
    sizes = {"channels": channels, "image_size": image_size, "classes": classes}
    if is_timm(settings.name):
        return build_timm(settings, channels=channels, image_size=image_size, classes=classes)
    if starts_pretrained(settings.name, settings.pretrained):
        weights_file(settings)
    model = _builder(settings.name)(settings, **sizes)
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"model '{settings.name}': gave {type(model).__name__}; it must give a torch.nn.Module"
        )
    return model


def initialised_model(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int, seed: int
) -> nn.Module:
    """A model on the CPU whose weights follow from the seed alone, whatever device it goes to.

    Models of one's own keep the weights that their function gives them, which may be pretrained;
    what it draws from torch's global generator follows from the seed. So do timm's. Layers that
    are not to learn are frozen.

    Raises:
        UsageError: as `build_model`, an unknown initialisation, or weights that do not fit.
        DataError: pretrained weights that cannot be read.
    """
    sizes = {"channels": channels, "image_size": image_size, "classes": classes}
    pretrained = starts_pretrained(settings.name, settings.pretrained)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_timm(settings.name):
            weights = timm_weights(settings).state if pretrained else None
            model = build_timm(settings, **sizes, weights=weights)
        else:
            model = build_model(settings, **sizes)
    if not is_reference(settings.name) and not is_timm(settings.name):
        generator = torch.Generator().manual_seed(seed)
        initialise(model, settings.initialisation, settings.initialisation_std, generator)
        if pretrained:
            load_pretrained(model, settings)
    _freeze(model, settings)
    return model


def _freeze(model: nn.Module, settings: ModelSettings) -> None:
    """Keep what is not to learn, of a model that has the head that is to begin with zeros."""
    if settings.head_weights != "drawn":
        find_head(model)
    if settings.train_layers != "all":
        freeze_layers(model, settings)
    if settings.norm_statistics == "frozen":
        freeze_statistics(model)


def with_names(
    weights: Mapping[str, torch.Tensor], model: nn.Module
) -> Mapping[str, torch.Tensor]:
    """Weights under the names that a model's own have, where its layers were numbered.

    Before 0.2.0 `features.conv1.weight` was `0.weight`, and `3.body.0.weight` stood within a
    residual block. Files may keep names in any order.
    """
    layers = dict.fromkeys(name.rpartition(".")[0] for name in weights)
    if not all(_NUMBERED.fullmatch(layer) for layer in layers):
        return weights
    own = dict.fromkeys(name.rpartition(".")[0] for name in model.state_dict())
    numbered = all(_NUMBERED.fullmatch(layer) for layer in own)  # a model of one's own, as it is
    if numbered or len(own) != len(layers):
        return weights
    names = dict(zip(sorted(layers, key=_place), own, strict=True))
    renamed = {}
    for name, weight in weights.items():
        layer, _, kind = name.rpartition(".")
        renamed[f"{names[layer]}.{kind}"] = weight
    return renamed


_PARTS = ("body", "shortcut", "closing")  # of a residual block, in its own order
_NUMBERED = re.compile(rf"\d+(\.({'|'.join(_PARTS)})\.\d+)?")


def _place(layer: str) -> list[int]:
    return [_PARTS.index(part) if part in _PARTS else int(part) for part in layer.split(".")]


@torch.no_grad()
def initialise(model: nn.Module, name: str, std: float, generator: torch.Generator) -> None:
    """Draw the weights of every convolution and dense layer and set their biases to zero.

    `default` leaves weights and biases as torch has drawn them.

    `xavier` and `he` are the normal forms, `he` with the gain of ReLU whatever the activation, so
    that the two settings stay independent. `std` is that of `normal` and `truncated_normal`. The
    generator must be on the weights' device.

    Raises:
        UsageError: an unknown name.
    """
    if name == TORCHS_OWN:
        return
    fill = _FILLERS.get(name)
    if fill is None:
        hint = did_you_mean(name, [*_FILLERS, TORCHS_OWN])
        raise UsageError(f"initialisation '{name}': unknown, {hint}")
    for layer in model.modules():
        if isinstance(layer, LAYERS_WITH_WEIGHTS):
            fill(layer.weight, std, generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def check_model(settings: ModelSettings, *, channels: int, image_size: int, classes: int) -> int:
    """Count the parameters of a model, built without memory; what is one's own is tried out.

    Pretrained weights are read and held against it.

    Raises:
        UsageError: as `build_model`, weights that do not fit, a model of one's own that raises or
            whose output is not (N, classes), or an activation of one's own that raises or changes
            the shape.
        DataError: pretrained weights that cannot be read.
    """
    if is_reference(settings.activation):
        _try_activation(settings)
    check_layers(settings)
    sizes = {"channels": channels, "image_size": image_size, "classes": classes}
    if is_timm(settings.name):
        model = _try_timm(settings, **sizes)
        return sum(parameter.numel() for parameter in model.parameters())
    with torch.device("meta"), torch.inference_mode():
        if is_reference(settings.name):
            model = _try_model(settings, **sizes)
        else:
            # The first convolution without memory loads 900 modules (1.6 s), so not for these.
            model = build_model(settings, **sizes)
    if settings.head_weights != "drawn":
        find_head(model)
    if starts_pretrained(settings.name, settings.pretrained):
        fitting_weights(model, settings)
    return sum(parameter.numel() for parameter in model.parameters())


def check_models(
    models: Iterable[ModelSettings], *, channels: int, image_size: int, classes: int
) -> None:
    """As `check_model`, for several; a network of timm's is shown a picture once.

    Raises:
        UsageError: see there.
        DataError: see there.
    """
    sizes = {"channels": channels, "image_size": image_size, "classes": classes}
    models = list(models)
    seen: dict[ModelSettings, nn.Module] = {}
    for settings in models:
        if not is_timm(settings.name) or is_reference(settings.activation):
            check_model(settings, **sizes)
            continue
        check_layers(settings)
        # Some of timm's take no dropout, so whether any wants it is part of the network.
        dropout = max(each.dropout for each in models if each.name == settings.name)
        network = replace(
            settings,
            dropout=dropout,
            train_layers="all",
            norm_statistics="trained",
            head_weights="drawn",
        )
        if network not in seen:
            seen = {network: _try_timm(network, **sizes)}
        _freeze(seen[network], settings)


def _try_timm(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Module:
    """A model of timm's that has seen a picture: many want one of a certain size."""
    sizes = {"channels": channels, "image_size": image_size, "classes": classes}
    model = initialised_model(settings, **sizes, seed=0)
    asked = f"it was shown a picture of {image_size} pixels; set image_size"
    with explain_failure("model", settings.name, asked), torch.inference_mode():
        shape = tuple(model.eval()(torch.zeros(1, channels, image_size, image_size)).shape)
    if shape != (1, classes):
        raise UsageError(
            f"model '{settings.name}': gives {shape} for a picture and {classes} classes; take "
            "one of timm's classifiers"
        )
    return model


def _try_model(
    settings: ModelSettings, *, channels: int, image_size: int, classes: int
) -> nn.Module:
    """A model of one's own that has seen two pictures."""
    asked = (
        "it is called as function(settings, channels=, image_size=, classes=), and what it gives "
        "takes (N, channels, image_size, image_size) to (N, classes)"
    )
    with explain_failure("model", settings.name, asked):
        model = build_model(settings, channels=channels, image_size=image_size, classes=classes)
        shape = tuple(model.eval()(torch.empty(2, channels, image_size, image_size)).shape)
    if shape != (2, classes):
        raise UsageError(
            f"model '{settings.name}': gives {shape} for two pictures and {classes} classes; "
            f"it must give (2, {classes})"
        )
    return model


def _try_activation(settings: ModelSettings) -> None:
    values = torch.linspace(-1, 1, 72).view(2, 4, 3, 3)
    asked = "it takes a tensor and gives one of the same shape"
    with explain_failure("activation", settings.activation, asked):
        shape = tuple(activation(settings)(values).shape)
    if shape != tuple(values.shape):
        raise UsageError(
            f"activation '{settings.activation}': gives {shape} for {tuple(values.shape)}; "
            "it must keep the shape"
        )


def _builder(name: str) -> Callable[..., object]:
    if is_reference(name):
        theirs: Callable[..., object] = import_reference(name)
        return theirs
    if name not in model_names():
        raise UsageError(f"model '{name}': unknown, {did_you_mean(name, model_names())}")
    module = importlib.import_module(f"optuna_study.training.models.{name}")
    built_in: Callable[..., object] = module.build
    return built_in
