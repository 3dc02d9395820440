"""How much each parameter mattered, and how our table holds that."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Importance:
    """A parameter's share of the variance between trials, with a 90 % interval by bootstrap.

    `trials` completed ones had it; without a share they were too few to tell. Where an earlier
    version computed it, nothing but the share is known.
    """

    trials: int | None
    share: float | None = None
    low: float | None = None
    high: float | None = None


def importances_text(importances: Mapping[str, Importance]) -> str:
    """Importances by parameter as JSON, in their order."""
    return json.dumps({name: asdict(each) for name, each in importances.items()})


def stored_importances(text: str | None) -> dict[str, Importance] | None:
    """The inverse; versions of our tables before 7 hold the shares alone."""
    if text is None:
        return None
    return {
        name: Importance(**each) if isinstance(each, dict) else Importance(None, each)
        for name, each in json.loads(text).items()
    }
