"""Every kind of figure by its name; each module lists its own in KINDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.errors import UsageError
from optuna_study.report.figures import answers, comparison, curves, pareto, progress, settings
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.report.figures.kind import Kind

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for module in (progress, pareto, curves, settings, comparison, answers)
    for kind in module.KINDS
}


def find_kind(name: str) -> Kind:
    """The kind of figure of a name.

    Raises:
        UsageError: there is none.
    """
    found = KINDS.get(name)
    if found is None:
        raise UsageError(f"no figure '{name}', {did_you_mean(name, KINDS)}")
    return found
