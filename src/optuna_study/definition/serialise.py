"""A definition as plain JSON and back, its hash, and the difference between two, in words."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from optuna_study.config.settings import SECTIONS, config_from_dict, config_to_dict
from optuna_study.definition.model import (
    FREE_SEARCH_KEYS,
    Baseline,
    Claim,
    Definition,
    Figure,
    SearchSettings,
)
from optuna_study.space.build import frozen
from optuna_study.space.dimensions import Breakpoints, Choice, FloatRange, IntRange
from optuna_study.space.space import Space

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optuna_study.space.dimensions import Dimension

_KINDS: Mapping[str, type[Choice | IntRange | FloatRange | Breakpoints]] = {
    "choice": Choice,
    "int": IntRange,
    "float": FloatRange,
    "breakpoints": Breakpoints,
}

_PROSE = frozenset({"title", "source", "folder", "reported", "figure", "rank", "claims"})
"""What may change freely: what a source says, and where the pictures lie (their fingerprint
counts)."""


def to_json(definition: Definition) -> dict[str, Any]:
    """The definition as dictionaries, lists, text, numbers and None, as the store keeps it."""
    return {
        "format": 1,
        "name": definition.name,
        "study": definition.study,
        "profile": definition.profile,
        "title": definition.title,
        "source": definition.source,
        "folder": definition.folder,
        "stand_in": definition.stand_in,
        "config": config_to_dict(definition.config),
        "search": dataclasses.asdict(definition.search),
        "space": [_dimension_to_json(each) for each in definition.space.dimensions],
        "baselines": [_baseline_to_json(each) for each in definition.baselines],
        # Left out where it says nothing, so that studies made before it keep their hash.
        **({"only": definition.only} if definition.only else {}),
        **(
            {"claims": [dataclasses.asdict(each) for each in definition.claims]}
            if definition.claims
            else {}
        ),
    }


def from_json(plain: Mapping[str, Any]) -> Definition:
    """The inverse of `to_json`; the values are trusted, they came from there."""
    config = config_from_dict(plain["config"])
    return Definition(
        name=plain["name"],
        study=plain["study"],
        profile=plain["profile"],
        title=plain["title"],
        source=plain["source"],
        folder=plain["folder"],
        stand_in=plain["stand_in"],
        config=config,
        search=SearchSettings(**plain["search"]),
        space=Space.of([_dimension_from_json(each) for each in plain["space"]], config),
        baselines=tuple(_baseline_from_json(each) for each in plain["baselines"]),
        only=plain.get("only"),
        claims=tuple(Claim(**each) for each in plain.get("claims", ())),
    )


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


def _telling(section: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A section's settings without the late ones that have their defaults."""
    untold = {
        entry.name: entry.default
        for entry in dataclasses.fields(SECTIONS[section])
        if entry.metadata["late"]
    }
    return {key: value for key, value in settings.items() if untold.get(key, ...) != value}


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


def _dimension_to_json(dimension: Dimension) -> dict[str, Any]:
    kind = next(name for name, cls in _KINDS.items() if isinstance(dimension, cls))
    plain = {field.name: getattr(dimension, field.name) for field in dataclasses.fields(dimension)}
    plain["when"] = {name: list(values) for name, values in dimension.when.items()}
    if isinstance(dimension, Choice):
        plain["choices"] = list(dimension.choices)
    return {"setting": plain.pop("setting"), "kind": kind, **plain}


def _dimension_from_json(plain: Mapping[str, Any]) -> Dimension:
    values = {key: value for key, value in plain.items() if key != "kind"}
    values["when"] = {name: tuple(each) for name, each in plain["when"].items()}
    if "choices" in values:
        values["choices"] = tuple(values["choices"])
    return _KINDS[plain["kind"]](**values)


def _baseline_to_json(baseline: Baseline) -> dict[str, Any]:
    return {
        "name": baseline.name,
        "group": baseline.group,
        "settings": {
            name: [list(pair) for pair in value] if isinstance(value, tuple) else value
            for name, value in baseline.settings.items()
        },
        "reported": baseline.reported,
        "outside": list(baseline.outside),
        "figure": None if baseline.figure is None else dataclasses.asdict(baseline.figure),
        "rank": baseline.rank,
        # Left out where it says nothing, as `only` is.
        **({} if baseline.in_search else {"in_search": False}),
    }


def _baseline_from_json(plain: Mapping[str, Any]) -> Baseline:
    settings = {name: frozen(value) for name, value in plain["settings"].items()}
    figure = plain.get("figure")
    return Baseline(
        name=plain["name"],
        group=plain["group"],
        settings=settings,
        reported=plain["reported"],
        outside=tuple(plain["outside"]),
        figure=Figure(**figure) if figure else None,
        rank=plain.get("rank"),
        in_search=plain.get("in_search", True),
    )
