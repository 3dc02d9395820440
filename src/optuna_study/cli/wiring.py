"""What `validate --overfit` says."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from optuna_study.actions.check_wiring import check_wiring
from optuna_study.errors import CheckFailedError

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.paths import Workspace

log = logging.getLogger(__name__)


def report_wiring(
    study: str, workspace: Workspace, *, data: Path | None, profile: str, device: str
) -> None:
    """Check a study's wiring and print what was found.

    Raises:
        CheckFailedError: the wiring is not sound.
    """
    found = check_wiring(study, workspace, data=data, profile=profile, device=device)
    for note in found.notes:
        log.info("%s", note)
    if not found.sound:
        raise CheckFailedError(found.sentence)
    click.echo(found.sentence)
