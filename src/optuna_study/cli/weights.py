"""What `validate` sees of pretrained weights: torch is imported only where a study names some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.definition.model import PROFILES
from optuna_study.definition.resolve import baseline_config, resolve
from optuna_study.training.catalogue import NOT_PRETRAINED

if TYPE_CHECKING:
    from optuna_study.definition.model import StudyFile

COLOURS = 3
CLASSES = 10  # any number: the layer that answers need not fit


def check_weights(file: StudyFile) -> None:
    """Show that the pretrained weights which a study file names fit its models, of either profile.

    Pictures are taken for coloured ones; a launch looks at those that there are.

    Raises:
        UsageError: the weights are not there, or of another architecture.
        DataError: they cannot be read.
    """
    definitions = [resolve(file, profile) for profile in PROFILES]
    configs = [
        config
        for each in definitions
        for config in (each.config, *(baseline_config(each, b) for b in each.baselines))
        if config.model.pretrained != NOT_PRETRAINED
    ]
    if not configs:
        return
    from optuna_study.training.build import check_model

    for model, size in dict.fromkeys((each.model, each.data.image_size) for each in configs):
        check_model(model, channels=COLOURS, image_size=size, classes=CLASSES)
