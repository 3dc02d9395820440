"""What of a pretrained model learns: its head, its last stage too, or all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from optuna_study.config.catalogue import is_timm, starts_pretrained
from optuna_study.errors import UsageError
from optuna_study.training.backbone.timm_models import last_stage

if TYPE_CHECKING:
    from optuna_study.config.settings import ModelSettings, TrainConfig


def check_layers(settings: ModelSettings) -> None:
    """Refuse to keep weights that nobody has trained.

    Raises:
        UsageError: layers are to keep their weights, which are drawn.
    """
    if settings.train_layers != "all" and not starts_pretrained(
        settings.name, settings.pretrained
    ):
        raise UsageError(
            f"train_layers '{settings.train_layers}': the weights of {settings.name} are drawn, "
            'which nothing is to be kept of; name some in pretrained, or set train_layers = "all"'
        )


def find_head(model: nn.Module) -> nn.Linear:
    """The dense layer that gives a model's logits: timm's classifier, else the last of a chain.

    Raises:
        UsageError: there is no such single layer.
    """
    head: object = model
    classifier = getattr(model, "get_classifier", None)
    if classifier is not None:
        head = classifier()
    elif isinstance(model, nn.Sequential):
        head = model[-1]
    if not isinstance(head, nn.Linear):
        raise UsageError(
            f"train_layers: {type(model).__name__} does not end in one dense layer, so it has no "
            'head of its own; set train_layers = "all" and backbone_lr_factor = 1'
        )
    return head


def freeze_layers(model: nn.Module, settings: ModelSettings) -> None:
    """Keep the weights of layers that are not to learn, and their batch norm's statistics.

    They stay in evaluation mode, dropout among them, whatever mode the model is put into.

    Raises:
        UsageError: the model cannot be cut so.
    """
    check_layers(settings)
    learning = {id(parameter) for parameter in find_head(model).parameters()}
    if settings.train_layers == "last_stage":
        if not is_timm(settings.name):
            raise UsageError(
                f"train_layers 'last_stage': {settings.name} has no stages; take head or all, or "
                "one of timm's models"
            )
        stage = last_stage(model)
        learning |= {id(each) for name, each in model.named_parameters() if name in stage}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in learning)
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            _stay_in_evaluation(module)


def head_parameters(config: TrainConfig, model: nn.Module) -> list[nn.Parameter] | None:
    """The parameters of the head, where the layers below it learn at a rate of their own.

    Raises:
        UsageError: the model has no single head.
    """
    if config.train.backbone_lr_factor == 1.0:
        return None
    return list(find_head(model).parameters())


def _stay_in_evaluation(module: nn.Module) -> None:
    module.eval()
    # `train` of the whole model calls each module's own.
    module.train = lambda mode=True: module  # type: ignore[method-assign]
