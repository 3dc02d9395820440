"""The machine-readable forms of output: strict JSON, YAML and CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from optuna_study.text import spell_out

Rows = Sequence[Mapping[str, Any]]


def plain(value: Any) -> Any:
    """The value in the lists, dictionaries and scalars of JSON; NaN and infinities become null.

    >>> plain({"a": (1, float("nan")), "b": float("inf")})
    {'a': [1, None], 'b': None}
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def to_json(value: Any) -> str:
    """Strict JSON: no NaN, no Infinity, and nothing in it that a terminal would obey."""
    return spell_out(json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False))


def to_yaml(value: Any) -> str:
    """YAML in the order of the fields, without a newline at the end."""
    import yaml

    text: str = yaml.safe_dump(plain(value), sort_keys=False, allow_unicode=True)
    return text.rstrip("\n")


def to_csv(rows: Rows) -> str:
    """Comma-separated rows under a header; nested fields as `params_lr`, null as an empty field.

    >>> print(to_csv([{"number": 0, "params": {"lr": 0.1}}, {"number": 1, "params": {}}]))
    number,params_lr
    0,0.1
    1,
    """
    import csv
    import io

    flat = [_flat(plain(row)) for row in rows]
    # A dictionary keeps the order in which the columns are first seen, a set would not.
    columns = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue().rstrip("\n")


def render(form: str, value: Mapping[str, Any] | Rows, table: str) -> str:
    """A value in one of the forms: `json`, `yaml`, `csv` (rows only), or the `table` given."""
    if form == "json":
        return to_json(value)
    if form == "yaml":
        return to_yaml(value)
    if form == "csv":
        return to_csv([value] if isinstance(value, Mapping) else value)
    return table


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_")
        else:
            is_list = isinstance(value, list)
            flat[f"{prefix}{name}"] = json.dumps(value, allow_nan=False) if is_list else value
    return flat
