"""The names of studies: what they may look like, and how a variant is spelled."""

from __future__ import annotations

import re

from optuna_study.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")

RULE = "letters, digits, '-' and '_', at most 100, not beginning with '-'"


def is_name(name: str) -> bool:
    """Whether a study may be called so.

    >>> is_name("cats-2"), is_name("../cats"), is_name("cats@cpu")
    (True, False, False)
    """
    return _NAME.fullmatch(name) is not None


def require_name(name: str) -> str:
    """The name, when a study may be called so.

    Raises:
        UsageError: it may not.
    """
    if not is_name(name):
        raise UsageError(f"'{name}' cannot be the name of a study; use {RULE}")
    return name


def variant_name(study: str, profile: str, stand_in: str | None, only: str | None = None) -> str:
    """The name under which a study's variant is stored: profile and stand-in data are part of it.

    `only` is what a study is restricted to, such as its baselines.

    >>> variant_name("alexnet_pokemon", "full", None)
    'alexnet_pokemon'
    >>> variant_name("alexnet_pokemon", "cpu", "rendered")
    'alexnet_pokemon@cpu-rendered'
    >>> variant_name("mnist_mlp", "full", None, "baselines")
    'mnist_mlp@baselines'
    """
    marks = [mark for mark in ("" if profile == "full" else profile, stand_in, only) if mark]
    return f"{study}@{'-'.join(marks)}" if marks else study


def rename_variant(variant: str, study: str) -> str:
    """The name of the same variant of a study called otherwise.

    >>> rename_variant("alexnet_pokemon@cpu-rendered", "mine")
    'mine@cpu-rendered'

    Raises:
        UsageError: no study may be called so.
    """
    return require_name(study) + variant[len(bare_name(variant)) :]


def bare_name(variant: str) -> str:
    """The name without its variant.

    >>> bare_name("alexnet_pokemon@cpu-rendered")
    'alexnet_pokemon'
    """
    return variant.partition("@")[0]
