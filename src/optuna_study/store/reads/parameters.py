"""Optuna's stored parameters as the values that were suggested, read without Optuna."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

_WHOLE = frozenset(("IntDistribution", "IntUniformDistribution", "IntLogUniformDistribution"))


@lru_cache(maxsize=1024)
def _choices(distribution_json: str) -> tuple[str, tuple[Any, ...]]:
    stored = json.loads(distribution_json)
    kind = stored.get("name") or stored["type"]  # Optuna also reads a short form, with `type`
    attributes = stored.get("attributes", stored)
    return kind, tuple(attributes.get("choices", ()))


def external_parameter(internal_value: float, distribution_json: str) -> Any:
    """The value that was suggested, of which the store keeps a float.

    >>> external_parameter(
    ...     1.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "elu"]}}'
    ... )
    'elu'
    >>> external_parameter(
    ...     64.0, '{"name": "IntDistribution", "attributes": {"low": 1, "high": 99}}'
    ... )
    64
    """
    kind, choices = _choices(distribution_json)
    if choices:
        return choices[int(internal_value)]
    return int(internal_value) if kind in _WHOLE or kind == "int" else internal_value
