"""Raw values of a file to typed ones, each with its dotted path; all problems are collected.

Vocabulary: a *node* is a raw value, as TOML, YAML or JSON gives it, and where it stands, such as
`space.lr.high`. Reading a node gives the typed value, or notes a problem and gives None, so that
reading continues with what is left. A *field* is a dataclass's: its annotation says the type, its
metadata (`config.settings.setting`) the legal values.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from optuna_study.config import catalogue
from optuna_study.config.settings import (
    OWN_SIZE,
    SECTION_OF,
    SECTIONS,
    SETTINGS,
    Field,
    Pairs,
    TrainConfig,
)
from optuna_study.errors import MOST_SHOWN, UsageError
from optuna_study.text import did_you_mean, printable, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping


Readers: TypeAlias = "Mapping[str, Callable[[Node], object]]"
"""How values are read, by the annotation of their field."""

MOST_ITEMS = 1_000  # of one list; what is checked against each other takes their square
LONGEST_TEXT = 10_000
LONGEST_NAME = 200  # characters of a path that a problem shows

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_TIMM = re.compile(rf"{catalogue.TIMM}[a-z0-9_]+(\.[a-z0-9_]+)?")

_OF_TIMM: dict[str, dict[str, Any]] = {
    "data": {"image_size": OWN_SIZE, "scaling": "model"},
    "model": {"pretrained": catalogue.AUTO, "dropout": 0.0},
    "train": {},
}
"""What settings are that nobody names where the model is one of timm's."""


@dataclass
class Problems:
    """The problems of one file as (dotted path, sentence), in the order found."""

    noted: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def add(self, path: str, sentence: str) -> None:
        """Note a problem."""
        self.noted.append((path, sentence))

    def hint(self, name: str, known: Iterable[str]) -> str:
        """The nearest of the known names, or all; a search that only the problems shown get."""
        many = len(self.noted) >= MOST_SHOWN or len(name) > LONGEST_NAME
        return "see docs/study-file.md" if many else did_you_mean(name, known)

    def at(self, path: str) -> bool:
        """Whether there is a problem at a path or below it."""
        below = (f"{path}.", f"{path}[")
        return any(where == path or where.startswith(below) for where, _ in self.noted)

    def sentences(self) -> list[str]:
        """Each problem once, as one line of printable characters."""
        lines = (f"{shorten(path, LONGEST_NAME)}: {words}" for path, words in self.noted)
        return list(dict.fromkeys(map(printable, lines)))


@dataclass(frozen=True)
class Node:
    """A raw value, its path, and the problems of its file.

    `trusted` values were written by this package: types and keys are checked, bounds and names,
    which a profile may have scaled or another version added, are not.
    """

    raw: object
    path: str
    problems: Problems
    trusted: bool = False

    def refuse(self, sentence: str) -> None:
        """Note a problem here."""
        self.problems.add(self.path, sentence)

    def expect(self, what: str) -> None:
        """Note that the value is none of what it must be."""
        self.refuse(f"must be {what}, not {describe(self.raw)}")

    def below(self, key: str, raw: object) -> Node:
        """A value that stands below this one by a key."""
        path = f"{self.path}.{key}" if self.path else key
        return dataclasses.replace(self, raw=raw, path=path)

    def get(self, key: str, default: object) -> Node:
        """The entry of a table by its key, or a default in its place."""
        entries = self.raw if isinstance(self.raw, dict) else {}
        return self.below(key, entries.get(key, default))

    def table(self, known: Collection[str] | None = None) -> dict[str, Node]:
        """The entries of a table; where `known` keys are given, others are problems."""
        if not isinstance(self.raw, dict):
            self.expect("a table")
            return {}
        entries = {str(key): self.below(str(key), raw) for key, raw in self.raw.items()}
        if known is None:
            return entries
        for key in (key for key in entries if key not in known):
            hint = self.problems.hint(key, known)
            if key in SECTION_OF and self.path in {*SECTIONS, "search"}:
                hint = f"it belongs in [{SECTION_OF[key]}]"
            entries[key].refuse(f"unknown key, {hint}")
        return {key: entry for key, entry in entries.items() if key in known}

    def items(self) -> list[Node]:
        """The items of a list; none where the value is no list."""
        raws = self.raw if isinstance(self.raw, list | tuple) else []
        if len(raws) > MOST_ITEMS:
            self.refuse(f"has {len(raws):,} items, at most {MOST_ITEMS:,} are read")
            raws = raws[:MOST_ITEMS]
        return [
            dataclasses.replace(self, raw=raw, path=f"{self.path}[{index}]")
            for index, raw in enumerate(raws)
        ]

    def text(self) -> str | None:
        """The value as text."""
        if not isinstance(self.raw, str):
            self.expect("text in quotes")
        elif not self.trusted and len(self.raw) > LONGEST_TEXT:
            self.refuse(f"has more than {LONGEST_TEXT:,} characters")
        else:
            return self.raw
        return None

    def flag(self) -> bool | None:
        """The value as true or false."""
        if isinstance(self.raw, bool):
            return self.raw
        self.expect("true or false")
        return None

    def whole(self) -> int | None:
        """The value as a whole number; true is none."""
        if isinstance(self.raw, int) and not isinstance(self.raw, bool):
            return self.raw
        self.expect("a whole number")
        return None

    def number(self) -> float | None:
        """The value as a finite number; a whole one passes where a fraction is meant."""
        if not isinstance(self.raw, int | float) or isinstance(self.raw, bool):
            self.expect("a number")
            return None
        try:
            value = float(self.raw)
        except OverflowError:
            value = math.inf
        if math.isfinite(value):
            return value
        self.expect("finite")
        return None


def describe(raw: object) -> str:
    """A raw value as a message shows it, in short.

    >>> describe("fast"), describe(True), describe(0.5), describe([1])
    ("'fast'", 'true', '0.5', 'a list')
    """
    if isinstance(raw, str):
        return repr(shorten(raw, 40))
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, int):
        return str(raw) if abs(raw) < 10**18 else "a number of more than 18 digits"
    if isinstance(raw, float):
        return str(raw)
    kinds = {list: "a list", dict: "a table", type(None): "nothing"}
    return kinds.get(type(raw), f"a {type(raw).__name__}")


def bound(value: float) -> str:
    """A bound as people write it.

    >>> bound(1e-8), bound(0.999999), bound(100_000)
    ('1e-08', '0.999999', '100,000')
    """
    if value == 2**63 - 1:
        return "2^63 - 1"
    return f"{value:g}" if value < 1 else f"{value:,.10g}"


def read_config(node: Node, also: Collection[str] = ()) -> TrainConfig:
    """The sections of a training configuration; what is missing or wrong has its default.

    `also` are keys of `data` that others read.
    """
    if not isinstance(node.raw, dict):
        node.expect("a table")
    values = {
        section: read_fields(
            node.get(section, {}), dataclasses.fields(cls), also if section == "data" else ()
        )
        for section, cls in SECTIONS.items()
    }
    is_timm = catalogue.is_timm(values["model"].get("name", ""))
    defaults = _OF_TIMM if is_timm else {section: {} for section in SECTIONS}
    sections: dict[str, Any] = {
        section: cls(**{**defaults[section], **values[section]})
        for section, cls in SECTIONS.items()
    }
    return TrainConfig(**sections)


def read_fields(
    node: Node, fields: Iterable[Field], also: Collection[str] = (), readers: Readers | None = None
) -> dict[str, Any]:
    """What a table says of some fields, by name; what is missing or wrong is left out.

    `also` are keys that others read; any further one is a problem. `readers` are of annotations
    that are no setting's.
    """
    known = {field.name: field for field in fields}
    values = {
        name: read_field(entry, known[name], readers)
        for name, entry in node.table([*known, *also]).items()
        if name in known
    }
    return {name: value for name, value in values.items() if value is not None}


def read_field(node: Node, field: Field, readers: Readers | None = None) -> Any:
    """The value of a field; None with a problem when it is none, or where it is optional."""
    kind, _, optional = str(field.type).partition(" | ")
    if node.raw is None and optional:
        return None
    value = {**_READERS, **(readers or {})}[kind](node)
    if value is None or node.trusted or not field.metadata:
        return value
    if isinstance(value, str):
        return _legal_text(node, field, value)
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if low is None or high is None or low <= value <= high:
        return value
    node.expect(field.metadata["legal"] or f"between {bound(low)} and {bound(high)}")
    return None


def takes_reference(field: Field) -> bool:
    """Whether a setting may name a function of one's own."""
    tables = ("ACTIVATIONS", "DATASETS", "MODELS")
    return field.name == "objective" or field.metadata["choices"] in tables


def _legal_text(node: Node, field: Field, value: str) -> str | None:
    choices = field.metadata["choices"]
    if choices == "AUGMENTATIONS":
        return _augmentation(node, value)
    if field is SETTINGS["group"]:
        return _group(node, value)
    names = catalogue.known_names(choices)
    if "\0" in value:
        node.refuse("has a zero byte")
        return None
    if choices is None or value in names:
        return value
    if choices == "MODELS" and _TIMM.fullmatch(value):
        return value  # whether timm has it is seen where it is built: timm needs torch
    if not (takes_reference(field) and catalogue.is_reference(value)):
        hint = node.problems.hint(value, names)
        node.refuse(f"unknown name {describe(value)}, {hint}")
    elif _REFERENCE.fullmatch(value):
        return value
    else:
        node.refuse(f"{describe(value)} must look like package.module:function")
    return None


def _augmentation(node: Node, value: str) -> str | None:
    try:
        return "+".join(catalogue.augmentation_names(value)) or "none"
    except UsageError as error:
        node.refuse(str(error).removeprefix(f"augmentation '{value}': "))
        return None


def _group(node: Node, value: str) -> str | None:
    """A value of `data.group`: of words every one may be a column, patterns have parentheses."""
    try:
        re.compile(value if "(" in value else "")
    except re.error as error:
        node.refuse(f"{describe(value)} is no regular expression ({error})")
        return None
    if value.strip() and value.isprintable():
        return value
    node.expect("none, folder, a column's name or a pattern with a (group)")
    return None


def _pairs(node: Node) -> Pairs | None:
    if not isinstance(node.raw, list | tuple):
        node.expect("a list of [epoch, lr] pairs")
        return None
    before = len(node.problems.noted)
    pairs = [pair for item in node.items() if (pair := _pair(item)) is not None]
    for (earlier, _), (later, _) in itertools.pairwise(pairs):
        if later <= earlier and not node.trusted:
            node.refuse(f"out of order: epoch {later} comes after epoch {earlier}")
    return tuple(pairs) if len(node.problems.noted) == before else None


def _pair(node: Node) -> tuple[int, float] | None:
    if not isinstance(node.raw, list | tuple) or len(node.raw) != 2:
        node.expect("an [epoch, lr] pair")
        return None
    first, second = (dataclasses.replace(node, raw=raw) for raw in node.raw)
    epoch, lr = first.whole(), second.number()
    if epoch is None or lr is None:
        return None
    highest = SETTINGS["lr"].metadata["high"]
    if epoch < 1:
        node.refuse(f"the epoch must be positive, not {describe(epoch)}")
    elif not 0 < lr <= highest:
        shown = describe(second.raw)
        node.refuse(f"the rate must be above 0 and at most {bound(highest)}, not {shown}")
    else:
        return epoch, lr
    return None


_READERS: Readers = {
    "bool": Node.flag,
    "int": Node.whole,
    "float": Node.number,
    "str": Node.text,
    "Pairs": _pairs,
}
