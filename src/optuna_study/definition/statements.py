"""Entries of `[[claims]]`: what a source says of two baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.definition.model import CLAIM_KEYS, MEASURES, Claim
from optuna_study.definition.values import as_table, as_text, describe, number, unknown_keys
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

    from optuna_study.definition.values import Problems


def read_claims(raw: Any, baselines: Collection[str], problems: Problems) -> tuple[Claim, ...]:
    """The claims of a file with these baselines; those with problems are left out."""
    if not isinstance(raw, list):
        problems.add("claims", f"must be written as [[claims]] tables, not {describe(raw)}")
        return ()
    found = []
    for index, each in enumerate(raw):
        path = f"claims[{index}]"
        before = len(problems.found)
        table = as_table(each, path, problems)
        if not isinstance(each, dict):
            continue
        claim = _read_claim(table, path, baselines, problems)
        if len(problems.found) == before:
            found.append(claim)
    return tuple(found)


def _read_claim(
    table: dict[str, Any], path: str, baselines: Collection[str], problems: Problems
) -> Claim:
    unknown_keys(table, CLAIM_KEYS, path, problems)
    text = as_text(table.get("text", ""), f"{path}.text", problems)
    if not text and not problems.at(path):
        problems.add(f"{path}.text", "is missing: say in words what the source claims")
    named = {}
    for key in ("better", "worse"):
        named[key] = as_text(table.get(key, ""), f"{path}.{key}", problems)
        if named[key] not in baselines and not problems.at(f"{path}.{key}"):
            hint = did_you_mean(named[key], baselines)
            problems.add(f"{path}.{key}", f"no baseline named {describe(named[key])}, {hint}")
    if named["better"] and named["better"] == named["worse"]:
        problems.add(path, "compares a baseline with itself; name two")
    measure = as_text(table.get("measure", MEASURES[0]), f"{path}.measure", problems)
    if measure not in MEASURES and not problems.at(f"{path}.measure"):
        hint = did_you_mean(measure, MEASURES)
        problems.add(f"{path}.measure", f"unknown measure {describe(measure)}, {hint}")
    within = _read_within(table["within"], path, problems) if "within" in table else None
    return Claim(text, named["better"], named["worse"], measure, within)


def _read_within(raw: Any, path: str, problems: Problems) -> float | None:
    value = number(raw, "float", f"{path}.within", problems)
    if value is not None and not 0 < value < 1:
        problems.add(f"{path}.within", f"must be a fraction of 1, not {describe(raw)}")
    return value
