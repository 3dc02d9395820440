"""An exported training configuration, read as strictly as a study file."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optuna_study.config.epoch import EpochResult
from optuna_study.config.reader import Node, Problems, Readers, read_config, read_fields
from optuna_study.config.settings import SECTIONS, Scalar, TrainConfig, setting
from optuna_study.definition.model import DIRECTIONS
from optuna_study.definition.resolve import check_config
from optuna_study.definition.syntax import PARSERS, read_text
from optuna_study.errors import StudyFileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


MOST_EPOCHS = 100_000
FIGURES = tuple(f.name for f in dataclasses.fields(EpochResult) if f.name != "divergence")


@dataclass(frozen=True)
class Recorded:
    """What a trial reached: its value and, by name, the figures of its epochs."""

    metric: str | None = setting(None, "The study's metric.", choices=tuple(DIRECTIONS))
    value: float | None = None
    curve: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """Where a configuration comes from: a study's trial, its pictures and its machine."""

    study: str | None = None
    study_uuid: str | None = None
    study_seed: int | None = None
    trial: int | None = None
    baseline: str | None = None
    metric: str | None = None
    folder: str | None = setting(None, "Where the pictures were.")
    fingerprint: str | None = None
    value: float | None = None
    ended: str | None = None
    environment: Mapping[str, Scalar] = field(default_factory=dict)
    resumed_elsewhere: bool = False
    recorded: Recorded | None = None


def read_config_file(path: Path) -> tuple[TrainConfig, Origin]:
    """The configuration in a file that `export` wrote, and where it comes from.

    The ending says how to read it: .toml, .yaml, .yml or .json. Settings that are left out have
    their defaults.

    Raises:
        StudyFileError: it has problems; all of them are named.
        NotFoundError: it cannot be read.
    """
    parse = PARSERS.get(path.suffix.lower())
    if parse is None:
        raise StudyFileError(str(path), ["must end in .toml, .yaml, .yml or .json"])
    raw = parse(read_text(path, "config"), str(path))
    if not isinstance(raw, dict):
        raise StudyFileError(str(path), ["holds no tables; export writes data, model and train"])
    if "space" in raw:
        raise StudyFileError(
            str(path),
            ["is a study file; launch it, then make a configuration with `optuna-study export`"],
        )
    problems = Problems()
    node = Node(raw, "", problems)
    node.table((*SECTIONS, "provenance"))
    config = read_config(node)
    check_config(config, problems)
    provenance = node.get("provenance", {})
    origin = Origin(**read_fields(provenance, dataclasses.fields(Origin), readers=_READERS))
    if problems.noted:
        raise StudyFileError(str(path), problems.sentences())
    return config, origin


def _environment(node: Node) -> dict[str, Scalar]:
    """Versions, device and the like, by name; how many pictures there were is left out."""
    values: dict[str, Scalar] = {}
    for name, entry in node.table().items():
        raw = entry.raw
        counts = raw.values() if isinstance(raw, dict) else raw if isinstance(raw, list) else None
        if isinstance(raw, bool | int | float | str):
            values[name] = raw
        elif counts is None or not all(isinstance(each, int) for each in counts):
            entry.expect("text, a number or counts of pictures")
    return values


def _recorded(node: Node) -> Recorded:
    return Recorded(**read_fields(node, dataclasses.fields(Recorded), readers=_READERS))


def _curve(node: Node) -> dict[str, tuple[float, ...]]:
    curve = {}
    for name, entry in node.table().items():
        values = entry.raw if isinstance(entry.raw, list) else []
        if name not in FIGURES:
            entry.refuse(f"unknown figure, {node.problems.hint(name, FIGURES)}")
        elif not all(_is_number(value) for value in values) or values is not entry.raw:
            entry.expect("a list of numbers")
        elif len(values) > MOST_EPOCHS:
            entry.refuse(f"has more than {MOST_EPOCHS:,} epochs")
        curve[name] = tuple(values)
    return curve


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < 2**1023 and not math.isnan(value)


_READERS: Readers = {
    "Mapping[str, Scalar]": _environment,
    "Mapping[str, tuple[float, ...]]": _curve,
    "Recorded": _recorded,
}
