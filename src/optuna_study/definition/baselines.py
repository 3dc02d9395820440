"""Entries of `[[baselines]]`, and of `[[claims]]`: what a source says of two of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from optuna_study.config.reader import Node, Readers, describe, read_field, read_fields
from optuna_study.config.settings import SECTION_OF, SETTINGS, Setting
from optuna_study.definition.model import MEASURES, PINNED, Baseline, Figure, Statement
from optuna_study.definition.names import RULE, is_name

if TYPE_CHECKING:
    from collections.abc import Collection


def read_baselines(node: Node) -> tuple[Baseline, ...]:
    """The baselines of a file; a wrong part of one is as if it were left out."""
    baselines: list[Baseline] = []
    for item in _tables(node):
        name, place = item.get("name", ""), item
        if isinstance(name.raw, str) and is_name(name.raw):
            place = dataclasses.replace(item, path=f"baselines.{name.raw}")
        elif isinstance(name.raw, str):
            name.refuse(f"{describe(name.raw)} cannot be a baseline's name; use {RULE}")
        values = read_fields(place, dataclasses.fields(Baseline), readers=READERS)
        baseline = Baseline(**{"name": "", **values})
        if baseline.name and baseline.name in {other.name for other in baselines}:
            item.refuse(f"a second baseline named '{baseline.name}'; names are unique")
        baselines.append(baseline)
    return tuple(baselines)


def read_statements(node: Node, baselines: Collection[str]) -> tuple[Statement, ...]:
    """What the source says of these baselines; entries with problems are left out."""
    statements = []
    for item in _tables(node):
        before = len(node.problems.noted)
        blank = {"text": "", "better": "", "worse": ""}
        values = read_fields(item, dataclasses.fields(Statement))
        statement = Statement(**{**blank, **values})
        _check_statement(statement, item, baselines)
        if len(node.problems.noted) == before:
            statements.append(statement)
    return tuple(statements)


def _check_statement(statement: Statement, node: Node, baselines: Collection[str]) -> None:
    problems = node.problems
    if not statement.text and not problems.at(node.path):
        problems.add(f"{node.path}.text", "is missing: say in words what the source claims")
    for key, name in (("better", statement.better), ("worse", statement.worse)):
        path = f"{node.path}.{key}"
        if name not in baselines and not problems.at(path):
            hint = problems.hint(name, baselines)
            problems.add(path, f"no baseline named {describe(name)}, {hint}")
    if statement.better and statement.better == statement.worse:
        node.refuse("compares a baseline with itself; name two")
    if statement.measure not in MEASURES:
        hint = problems.hint(statement.measure, MEASURES)
        measure = f"unknown measure {describe(statement.measure)}, {hint}"
        problems.add(f"{node.path}.measure", measure)


def _tables(node: Node) -> list[Node]:
    """The tables of a list such as [[baselines]]."""
    if not isinstance(node.raw, list):
        node.expect(f"written as [[{node.path}]] tables")
    for item in node.items():
        if not isinstance(item.raw, dict):
            item.expect("a table")
    return [item for item in node.items() if isinstance(item.raw, dict)]


def read_settings(node: Node, free: frozenset[str] = frozenset()) -> dict[str, Setting]:
    """Settings of a baseline; their paths leave out the table that holds them.

    None that all trials share but those that are `free`.
    """
    shared = PINNED - free
    settings: dict[str, Setting] = {}
    owner = node.path.removesuffix(".settings")
    for name, entry in node.table().items():
        setting = dataclasses.replace(entry, path=f"{owner}.{name}")
        if name not in SETTINGS:
            setting.refuse(
                f"unknown setting, {node.problems.hint(name, SETTINGS.keys() - shared)}"
            )
        elif name in shared:
            setting.refuse(f"is the same for all trials; set it in [{SECTION_OF[name]}]")
        elif (value := read_field(setting, SETTINGS[name])) is not None:
            settings[name] = value
    return settings


def _setting_names(node: Node) -> tuple[str, ...] | None:
    names = [item.raw for item in node.items() if isinstance(item.raw, str)]
    if not isinstance(node.raw, list) or len(names) < len(node.raw):
        node.expect("a list of settings")
        return None
    for name in names:
        if name not in SETTINGS:
            node.refuse(f"unknown setting {describe(name)}, {node.problems.hint(name, SETTINGS)}")
    return tuple(name for name in names if name in SETTINGS)


def _figure(node: Node) -> Figure | None:
    """A figure as a file writes it, `{test_accuracy = 0.87}`."""
    entries = node.table(MEASURES)
    if isinstance(node.raw, dict) and len(node.raw) != 1:
        node.refuse(f"must hold one figure, {' or '.join(MEASURES)}")
        return None
    (field,) = (field for field in dataclasses.fields(Figure) if field.name == "value")
    for measure, entry in entries.items():
        value = read_field(entry, field)
        return None if value is None else Figure(measure, value)
    return None


READERS: Readers = {
    "Figure": _figure,
    "Mapping[str, Setting]": read_settings,
    "tuple[str, ...]": _setting_names,
}
"""How the fields of a baseline are read that are no settings, by their annotations."""
