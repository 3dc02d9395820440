"""A small study file, and ways to read variations of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from optuna_study.definition.read import parse_study_file
from optuna_study.errors import StudyFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.definition.model import StudyFile

SMALL = """\
title = "A small study"

[data]
name = "digits"
image_size = 32

[train]
epochs = 150
lr = 0.01
optimizer = "momentum"

[search]
trials = 30

[space]
activation = ["sigmoid", "relu", "gelu"]
lr = {low = 1e-3, high = 0.1, log = true}
dropout = {low = 0, high = 0.6, step = 0.1}
batch_size = [8, 16, 32]
optimizer = ["sgd", "momentum"]
momentum = {low = 0.5, high = 0.99, when = {optimizer = "momentum"}}
breakpoints = {most = 2, factor = {low = 0.01, high = 1.0}}

[[baselines]]
name = "plain"
settings = {activation = "relu", batch_size = 8}

[[baselines]]
name = "stepped"
group = "lr"
settings = {breakpoints = [[18, 0.003]], epochs = 200}
reported = "better"

[[baselines]]
name = "reverse"
settings = {breakpoints = [[16, 0.8]]}
outside = ["breakpoints"]

[profile.cpu.train]
epochs = 15
"""


@pytest.fixture(scope="session")
def small() -> str:
    """The text of a study file with a bit of everything."""
    return SMALL


@pytest.fixture(scope="session")
def small_file(small: str) -> StudyFile:
    """The same, read."""
    return parse_study_file(small, "small")


@pytest.fixture(scope="session")
def problems() -> Callable[[str], list[str]]:
    """The problems of a text as a study file; none when it is valid."""

    def found(text: str) -> list[str]:
        try:
            parse_study_file(text, "small")
        except StudyFileError as error:
            return list(error.problems)
        return []

    return found
