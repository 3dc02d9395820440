"""The tables of docs/study-file.md, made from the model, so that they say what the reader does.

`python -m optuna_study.definition.reference` writes them anew; a test fails when they are stale.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.config.catalogue import OPTIMIZERS, known_names, model_names, variants
from optuna_study.config.reader import bound, takes_reference
from optuna_study.definition.model import (
    DATA_KEYS,
    PINNED,
    TOP_LEVEL_KEYS,
    Baseline,
    Finetune,
    Statement,
    section_fields,
)
from optuna_study.definition.space_table import NOT_SEARCHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from optuna_study.config.settings import Field

PAGE = Path("docs/study-file.md")

_BLOCK = re.compile(
    r"(<!-- made from the code: ([a-z ]+) -->\n\n).*?(\n\n<!-- end -->\n)", re.DOTALL
)


def with_tables(text: str) -> str:
    """The text of the page with each of its tables as the code has it."""
    return _BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}{block[3]}", text)


def main(arguments: Sequence[str]) -> None:
    """Write the tables of the page at the path given, else of that below the working folder."""
    target = Path(arguments[0]) if arguments else PAGE
    target.write_text(with_tables(target.read_text(encoding="utf-8")), encoding="utf-8")


def _settings(section: str) -> str:
    rows = [
        (f"`{name}`", _default(entry), _values(entry), entry.metadata["doc"])
        for name, entry in section_fields(section).items()
    ]
    return _table(("setting", "default", "values", "what it is"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def _keys(sentences: Mapping[str, str]) -> str:
    return _table(("key", "what it is"), [(f"`{name}`", text) for name, text in sentences.items()])


def _fields(cls: type[Baseline | Statement | Finetune]) -> str:
    return _keys({field.name: field.metadata["doc"] for field in dataclasses.fields(cls)})


def _default(entry: Field) -> str:
    return "none" if entry.default is None else f"`{json.dumps(entry.default)}`"


def _values(entry: Field) -> str:
    if names := known_names(entry.metadata["choices"]):
        own = ", or a reference" if takes_reference(entry) else ""
        return f"{_code(names)}{own}"
    kind = str(entry.type).removesuffix(" | None")
    if kind in ("int", "float"):
        noun = "whole number" if kind == "int" else "number"
        low, high = entry.metadata["low"], entry.metadata["high"]
        return f"{noun}, {bound(low)} to {bound(high)}"
    return "text" if kind == "str" else "list of pairs"


def _variants() -> str:
    rows = [(f"`{name}`", _code(variants(name)) or "none") for name in model_names()]
    return _table(("model", "variants"), rows)


def _optimizers() -> str:
    rows = [
        (f"`{name}`", _code(",".join(entry.settings.values()).split(",")) or "nothing more")
        for name, entry in OPTIMIZERS.items()
    ]
    return _table(("optimizer", "reads"), rows)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names if name)


TABLES: Mapping[str, Callable[[], str]] = {
    "keys of a file": lambda: _keys(TOP_LEVEL_KEYS),
    "settings of data": lambda: _settings("data"),
    "keys of data": lambda: _keys(DATA_KEYS),
    "settings of model": lambda: _settings("model"),
    "variants": _variants,
    "settings of train": lambda: _settings("train"),
    "optimizers": _optimizers,
    "settings of search": lambda: _settings("search"),
    "settings of search confirm": lambda: _settings("search.confirm"),
    "settings of search finetune": lambda: _fields(Finetune),
    "settings not searched": lambda: _code(sorted(NOT_SEARCHED)),
    "keys of baselines": lambda: _fields(Baseline),
    "settings of all trials": lambda: _code(sorted(PINNED)),
    "keys of claims": lambda: _fields(Statement),
}
"""What the page holds between its marks, by the name in the mark."""

if __name__ == "__main__":
    main(sys.argv[1:])
