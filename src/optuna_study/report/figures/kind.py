"""What a figure is to those who ask for one: a name, a title and a function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from plotly.graph_objects import Figure

    from optuna_study.report.figures.study_data import StudyData

    Make: TypeAlias = "Callable[[StudyData], Figure]"


@dataclass(frozen=True)
class Kind:
    """A kind of figure: how commands call it, how people read it, and what draws it."""

    name: str
    title: str
    make: Make
    of_a_trial: bool = False  # shows `StudyData.focus` alone
