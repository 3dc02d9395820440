"""The house rules that no linter holds: no circles, and nothing too large to be read at once."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import optuna_study

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PACKAGE = "optuna_study"
LONGEST_MODULE = 400  # lines
WIDEST_FOLDER = 16  # modules


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; a package goes by its own."""
    found = {}
    for path in (SOURCE / PACKAGE).rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if path.stem == "__init__" else parts)] = path
    return found


def imports(path: Path, known: set[str]) -> set[str]:
    """The modules that one imports anywhere: in functions and for types, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                found.add(full if full in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found & known


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """A circle of imports, empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    found = modules()
    graph = {
        name: imports(path, set(found)) - {name}
        for name, path in found.items()
        if path.stem != "__init__"
    }
    assert cycle(graph) == []


def test_a_circle_would_be_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) != []


def test_a_module_can_be_read_at_once() -> None:
    lines = {name: path.read_text("utf-8").count("\n") for name, path in modules().items()}
    too_long = {name: count for name, count in lines.items() if count > LONGEST_MODULE}
    assert too_long == {}, "which second thing do these do?"


def test_a_folder_can_be_overlooked() -> None:
    wide = Counter(path.parent for path in modules().values() if path.stem != "__init__")
    assert {folder.name: n for folder, n in wide.items() if n > WIDEST_FOLDER} == {}


def test_the_changelogs_newest_release_is_the_version() -> None:
    releases = re.findall(
        r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", (ROOT / "CHANGELOG.md").read_text(), re.M
    )
    assert releases[0][0] == optuna_study.__version__
    assert [date for _, date in releases] == sorted((date for _, date in releases), reverse=True)


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("training.config", "config.settings", "DataSettings ModelSettings TrainConfig"),
        ("training.pictures", "data.pictures", "Pictures Request computed"),
        ("training.data", "training.device_data", "load_data DeviceData"),
        ("training.loop", "training.loop", "Run epochs prepare"),
        ("training.layers", "training.layers", "activation"),
        ("training.augment", "training.augment", "augment"),
        ("paths", "paths", "Workspace"),
    ],
)
def test_what_0_1_0_told_own_modules_to_import_is_still_there(
    old: str, new: str, names: str
) -> None:
    before = importlib.import_module(f"{PACKAGE}.{old}")
    now = importlib.import_module(f"{PACKAGE}.{new}")
    for name in names.split():
        assert getattr(before, name) is getattr(now, name)
