"""The modules of somebody's own that trials of a study may come to run functions of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.config.allowed import SETTINGS, modules_among, modules_of
from optuna_study.space.dimensions import Choice

if TYPE_CHECKING:
    from optuna_study.definition.model import Definition


def named_modules(definition: Definition) -> list[str]:
    """The modules whose functions a definition names, in its own and searched values."""
    searched = (
        choice
        for dimension in definition.space.dimensions
        if dimension.setting in SETTINGS and isinstance(dimension, Choice)
        for choice in dimension.choices
    )
    chosen = (
        value
        for baseline in definition.baselines
        for name, value in baseline.settings.items()
        if name in SETTINGS
    )
    return sorted({*modules_of(definition.config), *modules_among((*searched, *chosen))})
