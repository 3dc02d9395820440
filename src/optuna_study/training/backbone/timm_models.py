"""timm's classifiers by name: built, their own scaling, and what of them is head and stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import TIMM, augmentation_names, is_timm
from optuna_study.config.settings import OWN_SIZE, with_settings
from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean, in_one_line
from optuna_study.training.backbone.without_compiler import without_compiler

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from timm.models import PretrainedCfg
    from torch import nn

    from optuna_study.config.settings import ModelSettings, TrainConfig
    from optuna_study.training.device_data import Scale


def architecture(name: str) -> str:
    """Timm's own name of a `timm:NAME`, with the tag of its weights where it has one.

    Raises:
        UsageError: timm has no such model, or no such weights of it.
    """
    with without_compiler():
        import timm

    known = name.removeprefix(TIMM)
    stem, _, tag = known.partition(".")
    if not timm.is_model(stem):
        raise UsageError(f"model '{name}': timm has no '{stem}', {_similar(stem)}")
    if tag and known not in timm.list_pretrained(f"{stem}.*"):
        hint = did_you_mean(known, timm.list_pretrained(f"{stem}.*"))
        raise UsageError(f"model '{name}': timm has no weights '{tag}' of it, {hint}")
    return known


def _similar(stem: str) -> str:
    """Suggestions among timm's names, which are too many to be listed."""
    import difflib

    with without_compiler():
        import timm

    close = difflib.get_close_matches(stem, timm.list_models(), 3)
    return f"did you mean {' or '.join(close)}?" if close else "timm.list_models() has their names"


def build_timm(
    settings: ModelSettings,
    *,
    channels: int,
    image_size: int,
    classes: int,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> nn.Module:
    """A model of timm's from (N, channels, image_size, image_size) to (N, classes) logits.

    timm itself puts the weights in: it adapts the first layer to other channels and leaves out
    the head's where there are other classes.

    Raises:
        UsageError: timm has no such model, cannot build it at this size, or the weights do not
            fit.
    """
    with without_compiler():
        import timm

    name = architecture(settings.name)
    arguments: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
    if settings.dropout:
        arguments["drop_rate"] = settings.dropout
    if own_configuration(name).fixed_input_size:
        arguments["img_size"] = image_size
    if weights is not None:
        arguments |= {
            "pretrained": True,
            "pretrained_cfg_overlay": {"state_dict": dict(weights), "custom_load": False},
        }
    try:
        model: nn.Module = timm.create_model(name, **arguments)
    except (RuntimeError, ValueError, AssertionError, KeyError, TypeError) as error:
        raise UsageError(
            f"model '{settings.name}': timm cannot build it for {image_size} pixels"
            f"{' with these weights' if weights is not None else ''} ({in_one_line(error)})"
        ) from error
    if weights is not None and not _holds(model, weights):
        raise UsageError(
            f"model '{settings.name}': the weights are of another architecture; name those of "
            f"timm's {name}"
        )
    return model


def _holds(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether most of a model's tensors are those of some weights, whatever their names.

    timm passes over what is missing where it leaves a head out.
    """
    given = {_mark(tensor) for tensor in weights.values()}
    own = [_mark(tensor) for tensor in model.parameters()]
    return sum(mark in given for mark in own) > 0.7 * len(own)


def _mark(tensor: torch.Tensor) -> tuple[object, ...]:
    return tuple(tensor.shape), *tensor.detach().flatten()[:8].tolist()


def own_configuration(name: str) -> PretrainedCfg:
    """What timm says of a model: where its weights are, and what pictures they are for."""
    with without_compiler():
        from timm.models import PretrainedCfg, get_pretrained_cfg

    return get_pretrained_cfg(name) or PretrainedCfg()


def with_own_size(config: TrainConfig) -> TrainConfig:
    """A configuration with the `image_size` that a timm model was trained with, unless one is set.

    Raises:
        UsageError: timm has no such model.
    """
    if config.data.image_size != OWN_SIZE:
        return config
    *_, side = own_configuration(architecture(config.model.name)).input_size
    return with_settings(config, {"image_size": side})


def own_scale(config: TrainConfig) -> Scale | None:
    """Mean and deviation that a timm model's own configuration says, where they are asked for."""
    if config.data.scaling != "model" or not is_timm(config.model.name):
        return None
    own = own_configuration(architecture(config.model.name))
    return tuple(own.mean), tuple(own.std)


def check_training_size(config: TrainConfig) -> None:
    """Refuse training pictures of another size than the model is built for, where that matters.

    Raises:
        UsageError: the model takes pictures of one size alone.
    """
    data, name = config.data, config.model.name
    if data.training_size in (0, data.image_size):
        return
    if "resized_crop" not in augmentation_names(data.augmentation):
        return  # only resized_crop reads it
    any_size = is_timm(name) and not own_configuration(architecture(name)).fixed_input_size
    if not any_size or data.pixels != "plain":
        raise UsageError(
            f"training_size {data.training_size}: {name} takes pictures of one size alone, "
            f"image_size {data.image_size}; set training_size = 0"
        )


def upper_stages(model: nn.Module, share: float) -> frozenset[str]:
    """The names of the parameters in the last blocks of layers below the head, as timm cuts them.

    A `share` of the blocks, one at least.

    Raises:
        UsageError: timm does not say how its layers are grouped.
    """
    with without_compiler():
        from timm.models import group_parameters

    matcher = getattr(model, "group_matcher", None)
    if matcher is None:
        raise UsageError(
            f"train_layers: timm does not say which layers of {type(model).__name__} belong "
            "together; take head or all"
        )
    groups: Mapping[int, list[str]] = group_parameters(model, matcher(coarse=True))
    blocks = sorted(groups)[:-1]
    chosen = blocks[-max(1, int(share * len(blocks))) :]
    return frozenset(name for block in chosen for name in groups[block])
