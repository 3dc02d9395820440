"""Functions of somebody's own that a store or a file names: run where their module is allowed."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from optuna_study.config.catalogue import is_reference
from optuna_study.config.reader import takes_reference
from optuna_study.config.settings import MODEL, SECTIONS, TrainConfig
from optuna_study.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


SETTINGS = frozenset(
    {
        entry.name
        for section in SECTIONS.values()
        for entry in fields(section)
        if takes_reference(entry)
    }
    | {MODEL}
)
"""The settings that may name a function."""


def modules_of(config: TrainConfig) -> list[str]:
    """The modules whose functions a configuration names."""
    values = (
        getattr(getattr(config, name), entry.name)
        for name, section in SECTIONS.items()
        for entry in fields(section)
        if entry.name in SETTINGS
    )
    return modules_among(values)


def modules_among(values: Iterable[object]) -> list[str]:
    """The modules of those values that name functions."""
    named = (value for value in values if isinstance(value, str) and is_reference(value))
    return sorted({value.partition(":")[0] for value in named})


def require_allowed(what: object, modules: Iterable[str], allowed: Collection[str]) -> None:
    """Refuse a study or a file for its modules that are not `allowed`, nor in packages that are.

    Raises:
        UsageError: there are such; nothing of them was imported.
    """
    refused = [module for module in modules if not _is_allowed(module, allowed)]
    if refused:
        raise UsageError(
            f"{what}: names functions of {', '.join(refused)}, which may not be run here",
            f"give {' '.join(f'--allow {module}' for module in refused)} if you trust whoever "
            "made it",
        )


def _is_allowed(module: str, allowed: Collection[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in allowed)
