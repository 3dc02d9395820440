"""Entries of `[search]`, with the table `[search.confirm]` in it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from optuna_study.config.reader import read_fields
from optuna_study.definition.model import RECORDED_AS, Confirm, SearchSettings

if TYPE_CHECKING:
    from optuna_study.config.reader import Node, Readers


def read_search(node: Node) -> dict[str, Any]:
    """What a table says of the search, by name; what is missing or wrong is left out.

    Its metric has the name that curves have for it.
    """
    values = read_fields(node, dataclasses.fields(SearchSettings), readers=READERS)
    if "metric" in values:
        values["metric"] = RECORDED_AS.get(values["metric"], values["metric"])
    return values


def _confirm(node: Node) -> Confirm:
    return Confirm(**read_fields(node, dataclasses.fields(Confirm)))


READERS: Readers = {"Confirm": _confirm}
"""How the fields of a search are read that are no settings, by their annotations."""
