"""Whose a study is: shown and listed by, never enforced."""

from __future__ import annotations

import getpass
import os

from optuna_study.errors import UsageError

OWNER_VARIABLE = "OPTUNA_STUDY_OWNER"
LONGEST = 100


def owner_of(given: str | None = None) -> str:
    """The owner of studies made here: given, else the environment's, else this user's name.

    A user without a name, as in a container, goes by the number.

    Raises:
        UsageError: a name that fits no line.
    """
    name = given or os.environ.get(OWNER_VARIABLE) or _user()
    if not name.isprintable() or not name.strip() or len(name) > LONGEST:
        raise UsageError(f"--owner {name[:LONGEST]!r}: give a name of up to {LONGEST} characters")
    return name


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
