"""What every test starts from: nothing of the caller's environment or of another test."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPTUNA_STORAGE", "OPTUNA_STUDY_ARTIFACTS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _plain_logging() -> Iterator[None]:
    """A command sends the log to its own test's stderr; the next test must not find it."""
    yield
    logger = logging.getLogger("optuna_study")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
