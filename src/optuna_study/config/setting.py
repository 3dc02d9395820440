"""How a setting is declared: a dataclass field with its sentence and its legal values."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Any, TypeAlias

Scalar: TypeAlias = bool | int | float | str
Pairs: TypeAlias = tuple[tuple[int, float], ...]
Setting: TypeAlias = Scalar | Pairs
Field: TypeAlias = "dataclasses.Field[Any]"


def setting(
    default: Any,
    doc: str,
    *,
    choices: str | tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    legal: str = "",
    late: str | None = None,
) -> Any:
    """Declare a setting: its default, the sentence that documents it, and its legal values.

    `choices` is a tuple of names, or the name of a table of the catalogue; `low` and `high` are
    inclusive, and `legal` says in words what lies between them. `late` is the version
    that brought one when studies had been made without it: its default is what they did, and does
    not set later ones apart from them.
    """
    bounds = {"low": low, "high": high, "legal": legal}
    metadata = {"doc": doc, "choices": choices, **bounds, "late": late}
    return field(default=default, metadata=metadata)
