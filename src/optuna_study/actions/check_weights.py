"""What `validate` sees of timm's models and of pretrained weights; else torch stays away."""

from __future__ import annotations

from dataclasses import replace

from optuna_study.config.catalogue import is_timm, starts_pretrained
from optuna_study.config.settings import OWN_SIZE, ModelSettings
from optuna_study.definition.model import PROFILES, Definition, StudyFile
from optuna_study.definition.resolve import baseline_config, resolve, searched_models
from optuna_study.errors import UsageError

CLASSES = 10  # any number: the layer that answers need not fit


def check_weights(file: StudyFile) -> None:
    """Show that timm has the models of a study file, and that pretrained weights fit, by profile.

    No picture is read: where they may be grey or coloured, either will do; a launch looks at them.

    Raises:
        UsageError: the weights are not there, or of another architecture.
        DataError: they cannot be read.
    """
    definitions = [_resolved(file, profile) for profile in PROFILES]
    configs = [
        config
        for each in definitions
        for config in (
            each.config,
            *(() if each.second_stage is None else (each.second_stage,)),
            *(baseline_config(each, baseline) for baseline in each.baselines),
            *searched_models(each),
        )
        if is_timm(config.model.name)
        or config.model.train_layers != "all"
        or starts_pretrained(config.model.name, config.model.pretrained)
    ]
    if not configs:
        return
    from optuna_study.data.load import possible_channels

    for model, data in dict.fromkeys((each.model, each.data) for each in configs):
        name = data.name if file.folder is None else "folder"
        _check(model, data.image_size, possible_channels(name))


def _resolved(file: StudyFile, profile: str) -> Definition:
    definition = resolve(file, profile)
    if definition.config.data.image_size != OWN_SIZE:
        return definition
    from optuna_study.training.backbone.timm_models import with_own_size

    return replace(definition, config=with_own_size(definition.config))


def _check(model: ModelSettings, image_size: int, channels: tuple[int, ...]) -> None:
    """Hold weights against a model, whatever number of channels they fit."""
    from optuna_study.training.build_model import check_model

    refusals = []
    for count in channels:
        try:
            check_model(model, channels=count, image_size=image_size, classes=CLASSES)
        except UsageError as refusal:
            refusals.append(refusal)
        else:
            return
    raise refusals[-1]
