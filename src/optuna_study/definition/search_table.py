"""Entries of `[search]`, with the tables `[search.confirm]` and `[search.finetune]` in it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from optuna_study.config.reader import read_fields
from optuna_study.definition.baselines import READERS as BASELINE_READERS
from optuna_study.definition.model import RECORDED_AS, Confirm, Finetune, SearchSettings
from optuna_study.definition.space_table import read_space

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


def _finetune(node: Node) -> Finetune:
    readers = {**BASELINE_READERS, "tuple[Dimension, ...]": read_space}
    values = read_fields(node, dataclasses.fields(Finetune), readers=readers)
    for dimension in values.get("space", ()):
        if dimension.setting in values.get("settings", {}):
            node.below("space", None).below(dimension.setting, None).refuse(
                "stands in search.finetune.settings, too; leave one of them out"
            )
    return Finetune(**values)


READERS: Readers = {"Confirm": _confirm, "Finetune": _finetune}
"""How the fields of a search are read that are no settings, by their annotations."""
