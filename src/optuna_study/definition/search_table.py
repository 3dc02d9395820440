"""Entries of `[search]`, with the tables `[search.confirm]` and `[search.finetune]` in it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from optuna_study.config.reader import Node, Readers, read_fields
from optuna_study.definition.baselines import READERS as BASELINE_READERS
from optuna_study.definition.baselines import read_settings
from optuna_study.definition.model import RECORDED_AS, Confirm, Finetune, SearchSettings
from optuna_study.definition.space_table import read_space

if TYPE_CHECKING:
    from optuna_study.config.settings import Setting


def read_search(node: Node) -> dict[str, Any]:
    """What a table says of the search, by name; what is missing or wrong is left out.

    Its metrics have the names that studies have for them; a list of two is the metric and the
    second one, with which no pruner goes unless it is named.
    """
    node = _with_both(node)
    values = read_fields(node, dataclasses.fields(SearchSettings), readers=READERS)
    for name in ("metric", "second_metric"):
        if name in values:
            values[name] = RECORDED_AS.get(values[name], values[name])
    if "second_metric" in values:
        values.setdefault("pruner", "none")
    return values


def _with_both(node: Node) -> Node:
    """The table with a list of two metrics taken apart."""
    named = node.raw.get("metric") if isinstance(node.raw, dict) else None
    if not isinstance(node.raw, dict) or not isinstance(named, list):
        return node
    if len(named) != 2:
        node.below("metric", named).refuse("must be one metric or a list of two")
    both = dict(zip(("metric", "second_metric"), named, strict=False))
    alone = {name: raw for name, raw in node.raw.items() if name != "metric"}
    if "second_metric" in alone:
        node.below("second_metric", None).refuse("metric names two already; leave this one out")
    return dataclasses.replace(node, raw={**alone, **(both if len(named) == 2 else {})})


def _confirm(node: Node) -> Confirm:
    return Confirm(**read_fields(node, dataclasses.fields(Confirm)))


def finetune_settings(node: Node) -> dict[str, Setting]:
    """As those of a baseline, and `threads`: one such trial alone would leave cores idle."""
    return read_settings(node, free=frozenset({"threads"}))


def _finetune(node: Node) -> Finetune:
    readers = {
        **BASELINE_READERS,
        "Mapping[str, Setting]": finetune_settings,
        "tuple[Dimension, ...]": read_space,
    }
    values = read_fields(node, dataclasses.fields(Finetune), readers=readers)
    for dimension in values.get("space", ()):
        if dimension.setting in values.get("settings", {}):
            node.below("space", None).below(dimension.setting, None).refuse(
                "stands in search.finetune.settings, too; leave one of them out"
            )
    return Finetune(**values)


READERS: Readers = {"Confirm": _confirm, "Finetune": _finetune}
"""How the fields of a search are read that are no settings, by their annotations."""
