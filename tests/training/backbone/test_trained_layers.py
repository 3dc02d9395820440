"""What of a pretrained model learns, and how its frozen norms are computed."""

from __future__ import annotations

import pytest

from optuna_study.config.reproducibility import differing
from optuna_study.config.settings import ModelSettings, Setting, TrainConfig, with_settings
from optuna_study.training.backbone.trained_layers import way_of_norms

TIMMS = TrainConfig(model=ModelSettings(name="timm:tf_efficientnet_lite0"))


@pytest.mark.parametrize(
    ("settings", "folded"),
    [
        ({}, False),
        ({"train_layers": "half"}, True),
        ({"norm_statistics": "frozen"}, True),
        ({"norm_statistics": "frozen", "train_layers": "head"}, False),
        ({"norm_statistics": "frozen", "objective": "somebodys:own"}, False),
    ],
)
def test_a_checkpoint_of_before_frozen_norms_were_folded_is_other_where_they_are(
    settings: dict[str, Setting], folded: bool
) -> None:
    here = {"torch": "2.14", **way_of_norms(with_settings(TIMMS, settings))}
    said = ("frozen_norms was not recorded, is folded",) if folded else ()
    assert differing({"torch": "2.14"}, here) == said
