"""Entries of `[space]`, and the other way round: one searched dimension as a file writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.config.settings import SECTION_OF
from optuna_study.definition.model import PINNED, section_fields
from optuna_study.definition.values import (
    as_table,
    describe,
    number,
    setting_value,
    unknown_keys,
)
from optuna_study.space.dimensions import Breakpoints, Choice, FloatRange, IntRange, on_step
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.config.settings import Scalar, Setting
    from optuna_study.definition.values import Problems
    from optuna_study.space.dimensions import Dimension

RANGE_KEYS = ("low", "high", "log", "step")
BREAKPOINT_KEYS = ("most", "after", "factor")

NOT_SEARCHED = PINNED | {"epochs"}
"""Settings that no trial may have its own of: pinned ones, and the length trials are pruned by."""


def read_space(raw: Any, path: str, problems: Problems) -> tuple[Dimension, ...]:
    """The dimensions of a `[space]` table; those with problems are left out."""
    found = []
    for name, entry in as_table(raw, path, problems).items():
        where = f"{path}.{name}"
        if name not in SECTION_OF:
            known = SECTION_OF.keys() - NOT_SEARCHED
            problems.add(where, f"unknown setting, {did_you_mean(name, known)}")
        elif name in NOT_SEARCHED:
            problems.add(where, f"cannot be searched; set it in [{SECTION_OF[name]}]")
        else:
            before = len(problems.found)
            dimension = _read_entry(name, entry, where, problems)
            if dimension is not None and len(problems.found) == before:
                found.append(dimension)
    return tuple(found)


def _read_entry(name: str, raw: Any, path: str, problems: Problems) -> Dimension | None:
    entry = {"choices": raw} if isinstance(raw, list) else as_table(raw, path, problems)
    if isinstance(raw, dict) and not set(entry) - {"when"}:
        problems.add(path, f"is empty; {_forms(name)}")
    when = _read_when(entry.pop("when", {}), f"{path}.when", problems)
    if not entry:
        return None
    if name == "breakpoints":
        return _read_breakpoints(entry, when, path, problems)
    known = ("choices",) if _kind(name) == "str" else ("choices", *RANGE_KEYS)
    unknown_keys(entry, (*known, "when"), path, problems)
    if "choices" not in entry:
        return _read_range(name, entry, when, path, problems)
    if set(entry) & set(RANGE_KEYS):
        problems.add(path, "has choices and a range; keep one of them")
    return _read_choices(name, entry["choices"], when, path, problems)


def _read_choices(
    name: str, raw: Any, when: Mapping[str, tuple[Scalar, ...]], path: str, problems: Problems
) -> Choice | None:
    if not isinstance(raw, list):
        problems.add(path, f"choices must be a list, not {describe(raw)}")
        return None
    if not raw:
        problems.add(path, f"is empty; {_forms(name)}")
    choices: list[Scalar] = []
    for index, each in enumerate(raw):
        value = setting_value(SECTION_OF[name], name, each, f"{path}[{index}]", problems)
        if isinstance(value, tuple) or value is None:
            continue
        if value in choices:
            problems.add(f"{path}[{index}]", f"{describe(each)} stands twice; name it once")
        choices.append(value)
    return Choice(name, tuple(choices), when)


def _read_range(
    name: str,
    entry: Mapping[str, Any],
    when: Mapping[str, tuple[Scalar, ...]],
    path: str,
    problems: Problems,
) -> IntRange | FloatRange | None:
    kind = _kind(name)
    low, high = _bounds(name, entry, path, problems)
    log = _flag(entry.get("log", False), f"{path}.log", problems)
    step = _step(kind, entry, log, path, problems)
    if low is None or high is None:
        return None
    if low >= high:
        problems.add(path, f"low must be below high, not {low:g} and {high:g}")
        return None
    if log and low <= 0:
        problems.add(path, f"a log range needs low above 0, not {low:g}")
    if step is not None and not on_step(high - low, step):
        problems.add(path, f"high is not a whole number of steps of {step:g} above low")
    if kind == "int":
        return IntRange(name, int(low), int(high), log, int(step or 1), when)
    return FloatRange(name, low, high, log, step, when)


def _bounds(
    name: str, entry: Mapping[str, Any], path: str, problems: Problems
) -> tuple[float | None, float | None]:
    found: list[float | None] = []
    for key in ("low", "high"):
        value: Setting | None = None
        if key not in entry:
            problems.add(path, f"{key} is missing; {_forms(name)}")
        else:
            value = setting_value(SECTION_OF[name], name, entry[key], f"{path}.{key}", problems)
        found.append(value if isinstance(value, int | float) else None)
    return found[0], found[1]


def _step(
    kind: str, entry: Mapping[str, Any], log: bool, path: str, problems: Problems
) -> float | None:
    if "step" not in entry:
        return None
    step = number(entry["step"], kind, f"{path}.step", problems)
    if step is not None and step <= 0:
        problems.add(f"{path}.step", f"must be above 0, not {describe(entry['step'])}")
        return None
    if log:
        problems.add(path, "has log and step; keep one of them")
        return None
    return step


def _flag(raw: Any, path: str, problems: Problems) -> bool:
    if not isinstance(raw, bool):
        problems.add(path, f"must be true or false, not {describe(raw)}")
    return raw is True


def _read_breakpoints(
    entry: Mapping[str, Any],
    when: Mapping[str, tuple[Scalar, ...]],
    path: str,
    problems: Problems,
) -> Breakpoints | None:
    unknown_keys(entry, (*BREAKPOINT_KEYS, "when"), path, problems)
    most = _positive(entry, "most", path, problems)
    factor = _interval(entry, "factor", "float", path, problems)
    after = _interval(entry, "after", "int", path, problems) if "after" in entry else (1, None)
    if most is None or factor is None or after is None:
        return None
    log = True
    if isinstance(entry["factor"], dict) and "log" in entry["factor"]:
        log = _flag(entry["factor"]["log"], f"{path}.factor.log", problems)
    low, high = int(after[0]), None if after[1] is None else int(after[1])
    return Breakpoints("breakpoints", most, *factor, log, low, high, when)


def _positive(entry: Mapping[str, Any], key: str, path: str, problems: Problems) -> int | None:
    if key not in entry:
        problems.add(path, f"{key} is missing; {_forms('breakpoints')}")
        return None
    value = number(entry[key], "int", f"{path}.{key}", problems)
    if value is not None and not 1 <= value <= 100:
        problems.add(f"{path}.{key}", f"must be between 1 and 100, not {describe(entry[key])}")
        return None
    return None if value is None else int(value)


def _interval(
    entry: Mapping[str, Any], key: str, kind: str, path: str, problems: Problems
) -> tuple[float, float] | None:
    """Positive bounds {low, high} below `key`, and `log` for factors."""
    if key not in entry:
        problems.add(path, f"{key} is missing; {_forms('breakpoints')}")
        return None
    where = f"{path}.{key}"
    table = as_table(entry[key], where, problems)
    unknown_keys(table, ("low", "high", *(["log"] if kind == "float" else [])), where, problems)
    values = []
    for bound in ("low", "high"):
        if bound not in table:
            if isinstance(entry[key], dict):
                problems.add(where, f"{bound} is missing")
            continue
        value = number(table[bound], kind, f"{where}.{bound}", problems)
        if value is not None and value <= 0:
            problems.add(f"{where}.{bound}", f"must be above 0, not {describe(table[bound])}")
        elif value is not None:
            values.append(value)
    if len(values) < 2:
        return None
    if values[0] >= values[1]:
        problems.add(where, f"low must be below high, not {values[0]:g} and {values[1]:g}")
        return None
    return values[0], values[1]


def _read_when(raw: Any, path: str, problems: Problems) -> dict[str, tuple[Scalar, ...]]:
    found: dict[str, tuple[Scalar, ...]] = {}
    for name, values in as_table(raw, path, problems).items():
        where = f"{path}.{name}"
        if name not in SECTION_OF:
            problems.add(where, f"unknown setting, {did_you_mean(name, SECTION_OF)}")
            continue
        if name == "breakpoints":
            problems.add(where, "a condition needs a setting of one value, breakpoints are a list")
            continue
        listed = values if isinstance(values, list) else [values]
        if not listed:
            problems.add(where, "is empty; name the values under which this is searched")
        checked = [setting_value(SECTION_OF[name], name, each, where, problems) for each in listed]
        found[name] = tuple(each for each in checked if isinstance(each, str | int | float))
    return found


def _kind(name: str) -> str:
    return str(section_fields(SECTION_OF[name])[name].type)


def _forms(name: str) -> str:
    if name == "breakpoints":
        return "write {most = 2, factor = {low = 0.01, high = 1.0}}"
    if _kind(name) == "str":
        return "write a list of names"
    return "write {low = ..., high = ...} or a list of values"
