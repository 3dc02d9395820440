"""Functions of somebody's own that a store names: none is run unless its module is allowed."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from optuna_study.config.catalogue import is_reference
from optuna_study.config.reader import takes_reference
from optuna_study.config.settings import SECTIONS
from optuna_study.errors import UsageError
from optuna_study.space.dimensions import Choice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from optuna_study.config.settings import TrainConfig
    from optuna_study.definition.model import Definition

SETTINGS = frozenset(
    entry.name
    for section in SECTIONS.values()
    for entry in fields(section)
    if takes_reference(entry)
)
"""The settings that may name a function."""


def named_modules(definition: Definition) -> list[str]:
    """The modules whose functions a definition may come to run, in its own and searched values."""
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
    return _modules((*_values(definition.config), *searched, *chosen))


def modules_of(config: TrainConfig) -> list[str]:
    """The modules whose functions a configuration names."""
    return _modules(_values(config))


def require_allowed(study: str, modules: Iterable[str], allowed: Collection[str]) -> None:
    """Refuse a study for its modules that are not `allowed`, nor in packages that are.

    Raises:
        UsageError: there are such; nothing of them was imported.
    """
    refused = [module for module in modules if not _is_allowed(module, allowed)]
    if refused:
        raise UsageError(
            f"{study}: names functions of {', '.join(refused)}, which may not be run here",
            f"give {' '.join(f'--allow {module}' for module in refused)} if you trust whoever "
            "made the study",
        )


def _values(config: TrainConfig) -> Iterator[object]:
    for name in SECTIONS:
        section = getattr(config, name)
        for entry in fields(section):
            if entry.name in SETTINGS:
                yield getattr(section, entry.name)


def _modules(values: Iterable[object]) -> list[str]:
    named = (value for value in values if isinstance(value, str) and is_reference(value))
    return sorted({value.partition(":")[0] for value in named})


def _is_allowed(module: str, allowed: Collection[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in allowed)
