"""Raw values of a file to settings, checked against their metadata; problems are collected."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna_study.config import catalogue
from optuna_study.config.settings import SECTION_OF, SECTIONS
from optuna_study.definition.model import section_fields
from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean, printable

if TYPE_CHECKING:
    import dataclasses
    from collections.abc import Iterable

    from optuna_study.config.settings import Setting

HIGHEST_LR: float = section_fields("train")["lr"].metadata["high"]

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

_KINDS = ("str", "int", "float")


@dataclass
class Problems:
    """The problems of one file as (dotted path, sentence), in the order found."""

    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: str, sentence: str) -> None:
        """Note a problem."""
        self.found.append((path, sentence))

    def at(self, path: str) -> bool:
        """Whether there is a problem at a path or below it."""
        below = (f"{path}.", f"{path}[")
        return any(each == path or each.startswith(below) for each, _ in self.found)

    def sentences(self) -> list[str]:
        """Each problem once, as one line of printable characters."""
        return list(dict.fromkeys(printable(f"{path}: {words}") for path, words in self.found))


def describe(raw: Any) -> str:
    """A raw value as a message shows it, in short.

    >>> describe("fast"), describe(True), describe(0.5), describe([1])
    ("'fast'", 'true', '0.5', 'a list')
    """
    if isinstance(raw, str):
        shown = raw if len(raw) <= 40 else f"{raw[:37]}..."
        return repr(shown)
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, int):
        return str(raw) if abs(raw) < 10**18 else "a number of more than 18 digits"
    if isinstance(raw, float):
        return str(raw)
    kinds = {list: "a list", dict: "a table", type(None): "nothing"}
    return kinds.get(type(raw), f"a {type(raw).__name__}")


def as_table(raw: Any, path: str, problems: Problems) -> dict[str, Any]:
    """The raw value as a table; an empty one with a problem when it is none."""
    if isinstance(raw, dict):
        return {str(key): value for key, value in raw.items()}
    problems.add(path, f"must be a table, not {describe(raw)}")
    return {}


def as_text(raw: Any, path: str, problems: Problems) -> str:
    """The raw value as text; empty with a problem when it is none."""
    if isinstance(raw, str):
        return raw
    problems.add(path, f"must be text in quotes, not {describe(raw)}")
    return ""


def unknown_keys(
    table: Iterable[str], known: Iterable[str], path: str, problems: Problems
) -> None:
    """Note every key of a table that nothing reads."""
    names = set(known)
    for key in table:
        if key not in names:
            elsewhere = SECTION_OF.get(key)
            hint = did_you_mean(key, names)
            if elsewhere and path in {*SECTIONS, "search"}:
                hint = f"it belongs in [{elsewhere}]"
            problems.add(f"{path}.{key}" if path else key, f"unknown key, {hint}")


def number(raw: Any, kind: str, path: str, problems: Problems) -> float | None:
    """A raw value as the int or float that `kind` says; None with a problem when it is none.

    A whole number passes where a fraction is meant, never the other way round; true is no number.
    """
    whole = isinstance(raw, int) and not isinstance(raw, bool)
    if not whole and (kind == "int" or not isinstance(raw, float)):
        expected = "a whole number" if kind == "int" else "a number"
        problems.add(path, f"must be {expected}, not {describe(raw)}")
        return None
    if kind == "int":
        return int(raw)
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        problems.add(path, f"must be finite, not {describe(raw)}")
        return None
    return value


def setting_value(
    section: str, name: str, raw: Any, path: str, problems: Problems
) -> Setting | None:
    """A raw value as the setting it is meant for; None with a problem when it cannot be."""
    entry = section_fields(section)[name]
    kind = str(entry.type).removesuffix(" | None")
    if kind not in _KINDS:
        return _pairs(raw, path, problems)
    if kind == "str":
        return _text_setting(section, entry, raw, path, problems)
    value = number(raw, kind, path, problems)
    if value is None:
        return None
    low, high = entry.metadata["low"], entry.metadata["high"]
    if low <= value <= high:
        return value
    problems.add(path, f"must be between {bound(low)} and {bound(high)}, not {describe(raw)}")
    return None


def bound(value: float) -> str:
    """A bound as people write it.

    >>> bound(1e-8), bound(0.999999), bound(100_000)
    ('1e-08', '0.999999', '100,000')
    """
    if value == 2**63 - 1:
        return "2^63 - 1"
    return f"{value:g}" if value < 1 else f"{value:,.10g}"


def variants(model: str) -> tuple[str, ...]:
    """The variants that a model's file names in its `VARIANTS`; empty when it names none.

    Read from the source text: importing a model loads torch, which takes seconds.
    """
    if model not in catalogue.model_names():
        return ()
    spec = importlib.util.find_spec("optuna_study.training.models")
    assert spec is not None
    folder = Path(str(spec.origin)).parent
    tree = ast.parse((folder / f"{model}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == "VARIANTS" for each in targets):
            return _literal(getattr(node, "value", None))
    return ()


def known_names(section: str, entry: dataclasses.Field[Any]) -> list[str]:
    """The names that a text setting may have; empty when its values are not names."""
    if entry.name == "name":
        return catalogue.model_names() if section == "model" else catalogue.dataset_names()
    choices = entry.metadata["choices"]
    if isinstance(choices, str):
        return list(catalogue.TABLES[choices])
    return list(choices or ())


def takes_reference(entry: dataclasses.Field[Any]) -> bool:
    """Whether a setting may name a function of one's own."""
    return entry.name in ("name", "objective") or entry.metadata["choices"] == "ACTIVATIONS"


def _literal(node: ast.expr | None) -> tuple[str, ...]:
    elements = node.elts if isinstance(node, ast.Tuple | ast.List) else []
    return tuple(str(each.value) for each in elements if isinstance(each, ast.Constant))


def _text_setting(
    section: str, entry: dataclasses.Field[Any], raw: Any, path: str, problems: Problems
) -> str | None:
    if not isinstance(raw, str):
        problems.add(path, f"must be text in quotes, not {describe(raw)}")
        return None
    if entry.name == "augmentation":
        return _augmentation(raw, path, problems)
    names = known_names(section, entry)
    if raw in names or not (names or entry.name == "name"):
        return raw
    if not (takes_reference(entry) and catalogue.is_reference(raw)):
        problems.add(path, f"unknown name {describe(raw)}, {did_you_mean(raw, names)}")
    elif _REFERENCE.fullmatch(raw):
        return raw
    else:
        problems.add(path, f"{describe(raw)} must look like package.module:function")
    return None


def _augmentation(raw: str, path: str, problems: Problems) -> str | None:
    try:
        return "+".join(catalogue.augmentation_names(raw)) or "none"
    except UsageError as error:
        problems.add(path, str(error).removeprefix(f"augmentation '{raw}': "))
        return None


def _pairs(raw: Any, path: str, problems: Problems) -> tuple[tuple[int, float], ...] | None:
    if not isinstance(raw, list | tuple):
        problems.add(path, f"must be a list of [epoch, lr] pairs, not {describe(raw)}")
        return None
    before = len(problems.found)
    pairs = [
        pair
        for index, each in enumerate(raw)
        if (pair := _pair(each, f"{path}[{index}]", problems)) is not None
    ]
    for (earlier, _), (later, _) in itertools.pairwise(pairs):
        if later <= earlier:
            problems.add(path, f"out of order: epoch {later} comes after epoch {earlier}")
    return tuple(pairs) if len(problems.found) == before else None


def _pair(raw: Any, path: str, problems: Problems) -> tuple[int, float] | None:
    if not isinstance(raw, list | tuple) or len(raw) != 2:
        problems.add(path, f"must be an [epoch, lr] pair, not {describe(raw)}")
        return None
    epoch = number(raw[0], "int", path, problems)
    lr = number(raw[1], "float", path, problems)
    if epoch is None or lr is None:
        return None
    if epoch < 1:
        problems.add(path, f"the epoch must be positive, not {describe(raw[0])}")
        return None
    if not 0 < lr <= HIGHEST_LR:
        problems.add(
            path,
            f"the rate must be above 0 and at most {bound(HIGHEST_LR)}, not {describe(raw[1])}",
        )
        return None
    return int(epoch), lr
