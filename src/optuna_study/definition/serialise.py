"""A definition as plain JSON and back, its hash, and the difference between two, in words."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import fields
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from optuna_study.config.reader import Node, Problems, Readers, describe, read_config, read_fields
from optuna_study.config.settings import SECTIONS
from optuna_study.definition import baselines, search_table, space_table
from optuna_study.definition.model import (
    FREE_SEARCH_KEYS,
    Baseline,
    Definition,
    Finetune,
    SearchSettings,
    Statement,
)
from optuna_study.errors import OtherVersionError
from optuna_study.space.dimensions import Breakpoints, Choice, Dimension, FloatRange, IntRange
from optuna_study.space.space import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from _typeshed import DataclassInstance


Record = TypeVar("Record", bound="DataclassInstance")

_NOTHING: Mapping[str, object] = MappingProxyType({})

_KINDS: Mapping[str, type[Choice | IntRange | FloatRange | Breakpoints]] = {
    "choice": Choice,
    "int": IntRange,
    "float": FloatRange,
    "breakpoints": Breakpoints,
}

_PROSE = frozenset({"title", "source", "folder", "reported", "figure", "rank", "claims", "fixed"})
"""What may change freely: what a source says, and where the pictures lie (their fingerprint
counts)."""


def to_json(definition: Definition) -> dict[str, Any]:
    """The definition as dictionaries, lists, text, numbers and None, as the store keeps it."""
    plain: dict[str, Any] = {"format": 1, **_plain(definition)}
    plain["space"] = [_dimension_to_json(each) for each in definition.space.dimensions]
    # Left out where they say nothing, so that studies made before them keep their hash.
    plain["config"] = {
        section: _telling(section, settings, ("0.1.0",))
        for section, settings in plain["config"].items()
    }
    for baseline in plain["baselines"]:
        if baseline["in_search"]:
            del baseline["in_search"]
    stage = definition.search.finetune
    plain["search"]["finetune"]["space"] = [_dimension_to_json(each) for each in stage.space]
    for name in ("confirm", "retries", "finetune", "outputs_of", "second_metric"):
        if getattr(definition.search, name) == getattr(SearchSettings(), name):
            del plain["search"][name]
    claims = plain.pop("statements")
    for name in ("only", "fixed"):
        if not plain[name]:
            del plain[name]
    return {**plain, "claims": claims} if claims else plain


def from_json(plain: Mapping[str, Any]) -> Definition:
    """The inverse of `to_json`.

    Raises:
        OtherVersionError: types or keys are not those that this version writes.
    """
    problems = Problems()
    definition = _read_definition(Node(dict(plain), "", problems, trusted=True))
    if definition is None or problems.noted:
        raise OtherVersionError(
            f"{describe(plain.get('name'))}: its definition reads differently here: "
            f"{'; '.join(problems.sentences()[:3])}"
        )
    return definition


def definition_hash(definition: Definition | Mapping[str, Any]) -> str:
    """The SHA-256 of what makes results comparable: all but words, paths and budgets."""
    compared = json.dumps(_compared(definition), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(compared.encode()).hexdigest()


def diff(old: Definition | Mapping[str, Any], new: Definition | Mapping[str, Any]) -> list[str]:
    """What the hash sees differing, a line each, such as `space.lr.high: 0.1 -> 0.3`."""
    before, after = _compared(old), _compared(new)
    lines = []
    for path in [*before, *(path for path in after if path not in before)]:
        if path not in after:
            lines.append(f"{path}: {_shown(before[path])} -> nothing")
        elif path not in before:
            lines.append(f"{path}: nothing -> {_shown(after[path])}")
        elif before[path] != after[path]:
            lines.append(f"{path}: {_shown(before[path])} -> {_shown(after[path])}")
    return lines


def _compared(definition: Definition | Mapping[str, Any]) -> dict[str, Any]:
    """Dotted paths and values, without what may change freely."""
    plain = to_json(definition) if isinstance(definition, Definition) else definition
    named = {
        **{key: value for key, value in plain.items() if key not in _PROSE},
        **{section: _telling(section, settings) for section, settings in plain["config"].items()},
        "search": {k: v for k, v in plain["search"].items() if k not in FREE_SEARCH_KEYS},
        "space": {each["setting"]: each for each in plain["space"]},
        "baselines": {
            each["name"]: {k: v for k, v in each.items() if k not in _PROSE}
            for each in plain["baselines"]
        },
    }
    del named["config"]
    return dict(_flat(named, ""))


def _telling(
    section: str, settings: Mapping[str, Any], written: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A section's settings without the late ones that have their defaults.

    Those that came with one of the versions `written` are kept.
    """
    defaults = {
        entry.name: entry.default
        for entry in dataclasses.fields(SECTIONS[section])
        if entry.metadata["late"] not in (None, *written)
    }
    return {key: value for key, value in settings.items() if defaults.get(key, ...) != value}


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        # The JSON form is compared, so that a tuple and what a store gave back for it are equal.
        yield path, json.loads(json.dumps(value))
        return
    if not value and path:
        yield path, {}
    for key, each in value.items():
        yield from _flat(each, f"{path}.{key}" if path else str(key))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: object) -> Any:
    """A value of ours as JSON has it."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _dimension_to_json(dimension: Dimension) -> dict[str, Any]:
    kind = next(name for name, cls in _KINDS.items() if isinstance(dimension, cls))
    return {"setting": dimension.setting, "kind": kind, **_plain(dimension)}


def _read_definition(node: Node) -> Definition | None:
    config = read_config(node.get("config", None))
    dimensions: tuple[Dimension, ...] = _records(node.get("space", None), _read_dimension)
    given: dict[str, Any] = {
        "config": config,
        "search": _read_record(SearchSettings, node.get("search", None)),
        "baselines": _records(node.get("baselines", None), _read_baseline),
        "statements": _records(node.get("claims", []), partial(_read_record, Statement)),
        "space": Space.of(dimensions, config),
        "fixed": tuple(str(each.raw) for each in node.get("fixed", []).items()),
    }
    return _read_record(Definition, node, given, also=("format", "claims"))


def _records(node: Node, read: Callable[[Node], Record | None]) -> tuple[Record, ...]:
    if not isinstance(node.raw, list):
        node.expect("a list")
    return tuple(record for item in node.items() if (record := read(item)) is not None)


def _read_baseline(node: Node) -> Baseline | None:
    figure = node.get("figure", None).raw
    if isinstance(node.raw, dict) and isinstance(figure, dict) and "measure" in figure:
        written = {str(figure["measure"]): figure.get("value")}  # as a study file has it
        node = dataclasses.replace(node, raw={**node.raw, "figure": written})
    return _read_record(Baseline, node)


def _read_dimension(node: Node) -> Dimension | None:
    kind = node.get("kind", None)
    if not isinstance(kind.raw, str) or kind.raw not in _KINDS:
        kind.expect(f"one of {', '.join(_KINDS)}")
        return None
    return _read_record(_KINDS[kind.raw], node, also=("kind",))


def _read_finetune(node: Node) -> Finetune | None:
    dimensions = _records(node.get("space", []), _read_dimension)
    settings = search_table.finetune_settings(node.get("settings", {}))
    return _read_record(Finetune, node, {"space": dimensions, "settings": settings})


def _read_record(
    cls: type[Record], node: Node, given: Mapping[str, object] = _NOTHING, also: Iterable[str] = ()
) -> Record | None:
    """A dataclass of ours from its JSON form; `given` are fields that are read already."""
    read = read_fields(
        node, [f for f in fields(cls) if f.name not in given], (*given, *also), _READERS
    )
    values = {**read, **given}
    for field in fields(cls):
        optional = str(field.type).endswith(" | None")
        if field.name not in values and optional:
            values[field.name] = None
        elif field.name not in values and field.default is field.default_factory:
            node.get(field.name, None).refuse("is missing")
            return None
    return cls(**values)


_READERS: Readers = {
    **baselines.READERS,
    **search_table.READERS,
    **space_table.READERS,
    "Finetune": _read_finetune,
}
