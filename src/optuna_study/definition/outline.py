"""A study file in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.definition.resolve import resolve

if TYPE_CHECKING:
    from optuna_study.definition.model import Definition, StudyFile


def outline(file: StudyFile) -> str:
    """What a study file holds, and how its profiles differ."""
    full, cpu = resolve(file, "full"), resolve(file, "cpu")
    parts = [
        _counted(len(full.space.dimensions), "dimension"),
        _baselines(full),
        f"profile full: {_length(full)}",
        f"profile cpu: {_length(cpu)}" if "cpu" in file.profiles else "no profile cpu",
    ]
    return "; ".join(parts)


def _baselines(full: Definition) -> str:
    compared = len(full.baselines) - len(full.planned)
    named = _counted(len(full.baselines), "baseline")
    return f"{named}, {compared} of them for comparisons alone" if compared else named


def _length(definition: Definition) -> str:
    config = definition.config
    return (
        f"{_counted(definition.search.trials, 'trial')} of "
        f"{_counted(config.train.epochs, 'epoch')} at {config.data.image_size} px"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
