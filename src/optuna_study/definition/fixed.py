"""Settings that a command fixes for a new study, over what its file says."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from optuna_study.config.settings import SECTION_OF
from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


def fix_settings(raw: dict[str, Any], given: Sequence[str]) -> None:
    """Write each `NAME=VALUE` into what a study file holds, in every profile.

    A setting that was searched is so no longer. What the value may be is checked with the rest.

    Raises:
        UsageError: no such form, or no such setting.
    """
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not value.strip():
            raise UsageError(f"--set {text}: give it as NAME=VALUE, such as lr=0.01")
        if name not in SECTION_OF:
            hint = did_you_mean(name, SECTION_OF)
            raise UsageError(f"--set {name}: no such setting, {hint}")
        profiles = raw.get("profile")
        variants = list(profiles.values()) if isinstance(profiles, dict) else []
        for part in (raw, *variants):
            _remove(part, SECTION_OF[name], name)
            _remove(part, "space", name)
        section = raw.setdefault(SECTION_OF[name], {})
        if isinstance(section, dict):  # else the file's own problem is told
            section[name] = typed(value.strip())


def typed(text: str) -> Any:
    """A value as a study file writes it; what is no number, list or quoted text is a text.

    >>> typed("0.01"), typed("adam"), typed("[[5, 0.1]]"), typed("true")
    (0.01, 'adam', [[5, 0.1]], True)
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _remove(part: object, table: str, name: str) -> None:
    held = part.get(table) if isinstance(part, dict) else None
    if isinstance(held, dict):
        held.pop(name, None)
