"""What of a pretrained model learns: its head, its last stages too, or all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from optuna_study.config.catalogue import is_reference, is_timm, starts_pretrained
from optuna_study.errors import UsageError
from optuna_study.training.backbone.timm_models import upper_stages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.config.settings import ModelSettings, TrainConfig


SHARES: Mapping[str, float] = {"last_stage": 0.0, "half": 0.5}
"""What share of the blocks of layers below the head learns, by the value of `train_layers`."""


FOLDED: Mapping[str, str] = {"frozen_norms": "folded"}
"""What the record of a run has that computes frozen norms by the weights before them."""


def check_layers(settings: ModelSettings) -> None:
    """Refuse to keep weights, or statistics, that nobody has trained.

    Raises:
        UsageError: layers are to keep what is drawn, or a head is fitted that then learns alone.
    """
    if settings.train_layers == "head" and settings.head_weights == "fitted":
        raise UsageError(
            "head_weights 'fitted': a head that learns alone begins with zeros, what it is fitted "
            'by is what it learns from; leave it out, or let more learn than train_layers = "head"'
        )
    if starts_pretrained(settings.name, settings.pretrained):
        return
    for name, wanted, free in (
        ("train_layers", settings.train_layers, "all"),
        ("norm_statistics", settings.norm_statistics, "trained"),
        ("head_weights", settings.head_weights, "drawn"),
    ):
        if wanted != free:
            raise UsageError(
                f"{name} '{wanted}': the weights of {settings.name} are drawn, which nothing is "
                f'to be kept of; name some in pretrained, or set {name} = "{free}"'
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
    else:
        while isinstance(head, nn.Sequential):
            head = head[-1]
    if not isinstance(head, nn.Linear):
        raise UsageError(
            f"train_layers: {type(model).__name__} does not end in one dense layer, so it has no "
            'head of its own; set train_layers = "all", head_weights = "drawn" and '
            "backbone_lr_factor = 1"
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
    if settings.train_layers != "head":
        if not is_timm(settings.name):
            raise UsageError(
                f"train_layers '{settings.train_layers}': {settings.name} has no stages; take "
                "head or all, or one of timm's models"
            )
        learned = upper_stages(model, SHARES[settings.train_layers])
        learning |= {id(each) for name, each in model.named_parameters() if name in learned}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in learning)
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            _stay_in_evaluation(module)


def freeze_statistics(model: nn.Module) -> None:
    """Keep the statistics of every batch norm, whose own weights still learn."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            _stay_in_evaluation(module)


def freezes_norms(settings: ModelSettings) -> bool:
    """Whether batch norms keep their statistics, but for models of one's own.

    And but for those below a head that learns alone, which are no part of what is trained.
    """
    if is_reference(settings.name) or settings.train_layers == "head":
        return False
    return settings.train_layers in SHARES or settings.norm_statistics == "frozen"


def folds_norms(config: TrainConfig) -> bool:
    """Whether batch norms that keep their statistics stand in the weights before them.

    Where an objective of one's own trains they do not: it may want gradients of gradients.
    """
    return freezes_norms(config.model) and not is_reference(config.train.objective)


def way_of_norms(config: TrainConfig) -> dict[str, str]:
    """How a run computes frozen norms, as a record has it: one entry, or none."""
    return dict(FOLDED) if folds_norms(config) else {}


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
