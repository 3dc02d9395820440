"""Entries of `[space]` to dimensions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from optuna_study.config.reader import Node, Readers, describe, read_field
from optuna_study.config.settings import SECTION_OF, SETTINGS, Scalar
from optuna_study.definition.model import PINNED
from optuna_study.space.dimensions import (
    Breakpoints,
    Choice,
    Condition,
    Dimension,
    FloatRange,
    IntRange,
    on_step,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


RANGE_KEYS = ("low", "high", "log", "step")
BREAKPOINT_KEYS = ("most", "after", "factor")
MOST_BREAKPOINTS = 100

NOT_SEARCHED = PINNED | {"epochs"}
"""Settings that no trial may have its own of: pinned ones, and the length trials are pruned by."""


def read_space(node: Node) -> tuple[Dimension, ...]:
    """The dimensions of a `[space]` table; those with problems are left out."""
    dimensions = []
    for name, entry in node.table().items():
        if name not in SETTINGS:
            entry.refuse(
                f"unknown setting, {node.problems.hint(name, SETTINGS.keys() - NOT_SEARCHED)}"
            )
        elif name in NOT_SEARCHED:
            entry.refuse(f"cannot be searched; set it in [{SECTION_OF[name]}]")
        else:
            before = len(node.problems.noted)
            dimension = _read_dimension(name, entry)
            if dimension is not None and len(node.problems.noted) == before:
                dimensions.append(dimension)
    return tuple(dimensions)


def read_condition(node: Node) -> dict[str, tuple[Scalar, ...]]:
    """Under which values of other settings a dimension is searched."""
    condition: dict[str, tuple[Scalar, ...]] = {}
    for name, entry in node.table().items():
        if name not in SETTINGS:
            entry.refuse(f"unknown setting, {node.problems.hint(name, SETTINGS)}")
        elif name == "breakpoints":
            entry.refuse("a condition needs a setting of one value, breakpoints are a list")
        else:
            items = entry.items() if isinstance(entry.raw, list) else [entry]
            if not items:
                entry.refuse("is empty; name the values under which this is searched")
            at = (dataclasses.replace(item, path=entry.path) for item in items)
            values = [read_field(item, SETTINGS[name]) for item in at]
            condition[name] = tuple(value for value in values if value is not None)
    return condition


def _read_dimension(name: str, node: Node) -> Dimension | None:
    if isinstance(node.raw, list):
        return _read_dimension(name, dataclasses.replace(node, raw={"choices": node.raw}))
    known: tuple[str, ...] = ("choices", *RANGE_KEYS)
    if name == "breakpoints":
        known = BREAKPOINT_KEYS
    elif SETTINGS[name].type == "str":
        known = ("choices",)
    if isinstance(node.raw, dict) and not node.raw.keys() - {"when"}:
        node.refuse(f"is empty; {_forms(name)}")
    entries = node.table((*known, "when"))
    when = read_condition(entries.pop("when")) if "when" in entries else {}
    if not isinstance(node.raw, dict) or not node.raw.keys() - {"when"}:
        return None
    if name == "breakpoints":
        return _read_breakpoints(node, entries, when)
    if "choices" not in entries:
        return _read_range(name, node, entries, when) if "low" in known else None
    if len(entries) > 1:
        node.refuse("has choices and a range; keep one of them")
    choices = dataclasses.replace(entries["choices"], path=node.path)
    if not isinstance(choices.raw, list):
        node.refuse(f"choices must be a list, not {describe(choices.raw)}")
        return None
    return _read_choices(name, choices, when)


def _read_choices(name: str, node: Node, when: Condition) -> Choice:
    choices: list[Scalar] = []
    if not node.raw:
        node.refuse(f"is empty; {_forms(name)}")
    for item in node.items():
        value = read_field(item, SETTINGS[name])
        if value is None or isinstance(value, tuple):
            continue
        if value in choices:
            item.refuse(f"{describe(item.raw)} stands twice; name it once")
        choices.append(value)
    return Choice(name, tuple(choices), when)


def _read_range(
    name: str, node: Node, entries: Mapping[str, Node], when: Condition
) -> IntRange | FloatRange | None:
    whole = SETTINGS[name].type == "int"
    bounds = []
    for key in ("low", "high"):
        if _given(node, entries, key, name):
            bounds.append(read_field(entries[key], SETTINGS[name]))
    log = _read_log(entries, default=False)
    step = _read_step(node, entries, whole=whole, log=log)
    if len(bounds) < 2 or None in bounds:
        return None
    low, high = bounds
    if low >= high:
        node.refuse(f"low must be below high, not {low:g} and {high:g}")
        return None
    if log and low <= 0:
        node.refuse(f"a log range needs low above 0, not {low:g}")
    if step is not None and not on_step(high - low, step):
        node.refuse(f"high is not a whole number of steps of {step:g} above low")
    if whole:
        return IntRange(name, low, high, log, int(step or 1), when)
    return FloatRange(name, low, high, log, step, when)


def _read_log(entries: Mapping[str, Node], *, default: bool) -> bool:
    return default if "log" not in entries else entries["log"].flag() is True


def _read_step(node: Node, entries: Mapping[str, Node], *, whole: bool, log: bool) -> float | None:
    if "step" not in entries:
        return None
    step = _read_positive(entries["step"], whole=whole)
    if step is not None and log:
        node.refuse("has log and step; keep one of them")
        return None
    return step


def _read_positive(node: Node, *, whole: bool) -> float | None:
    value = node.whole() if whole else node.number()
    if value is None or value > 0:
        return value
    node.expect("above 0")
    return None


def _read_breakpoints(
    node: Node, entries: Mapping[str, Node], when: Condition
) -> Breakpoints | None:
    most, factor, after = None, None, None
    if _given(node, entries, "most"):
        most = entries["most"].whole()
        if most is not None and not 1 <= most <= MOST_BREAKPOINTS:
            entries["most"].expect(f"between 1 and {MOST_BREAKPOINTS}")
            most = None
    if _given(node, entries, "factor"):
        factor = _read_interval(entries["factor"], ("low", "high", "log"), whole=False)
    if "after" in entries:
        after = _read_interval(entries["after"], ("low", "high"), whole=True)
    if most is None or factor is None or ("after" in entries and after is None):
        return None
    log = _read_log(entries["factor"].table(), default=True)
    low, high = (1, None) if after is None else map(int, after)
    return Breakpoints("breakpoints", most, *factor, log, low, high, when)


def _read_interval(
    node: Node, keys: tuple[str, ...], *, whole: bool
) -> tuple[float, float] | None:
    """Positive bounds `{low, high}`."""
    entries = node.table(keys)
    bounds = []
    for key in ("low", "high"):
        if key in entries:
            bounds.append(_read_positive(entries[key], whole=whole))
        elif isinstance(node.raw, dict):
            node.refuse(f"{key} is missing")
    low, high = bounds if len(bounds) == 2 else (None, None)
    if low is None or high is None:
        return None
    if low >= high:
        node.refuse(f"low must be below high, not {low:g} and {high:g}")
        return None
    return low, high


def _given(node: Node, entries: Mapping[str, Node], key: str, name: str = "breakpoints") -> bool:
    if key not in entries:
        node.refuse(f"{key} is missing; {_forms(name)}")
    return key in entries


def _forms(name: str) -> str:
    if name == "breakpoints":
        return "write {most = 2, factor = {low = 0.01, high = 1.0}}"
    if SETTINGS[name].type == "str":
        return "write a list of names"
    return "write {low = ..., high = ...} or a list of values"


def _scalars(node: Node) -> tuple[Scalar, ...] | None:
    values = [item.raw for item in node.items() if isinstance(item.raw, bool | int | float | str)]
    if isinstance(node.raw, list) and len(values) == len(node.raw):
        return tuple(values)
    node.expect("a list of values")
    return None


READERS: Readers = {"Condition": read_condition, "tuple[Scalar, ...]": _scalars}
"""How the fields of a dimension are read that are no settings, by their annotations."""
