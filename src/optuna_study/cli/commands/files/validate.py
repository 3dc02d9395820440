"""`optuna-study validate`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import (
    artifacts_option,
    data_option,
    device_option,
    example,
    profile_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.paths import Workspace

log = logging.getLogger(__name__)


@click.command(
    epilog=example(
        "optuna-study validate alexnet_pokemon",
        "optuna-study validate my/study.toml --overfit --data ~/pictures",
    )
)
@click.argument("study", metavar="STUDY|FILE")
@click.option("--overfit", is_flag=True, help="Train its base model on a handful of pictures.")
@data_option
@profile_option
@device_option
@artifacts_option
def command(
    study: str,
    data: Path | None,
    profile: str,
    device: str,
    workspace: Workspace,
    *,
    overfit: bool,
) -> None:
    """Tell every problem of a study file at once, without training.

    Pretrained weights that it names or searches are read and held against its models.

    With --overfit the base model must then learn a handful of pictures by heart, within minutes:
    one that cannot is wired wrongly (data, labels, model or loss), and the exit code is 1. So it
    is where the model learns, yet no gradient reaches one of its weights that is to learn, or its
    answers in evaluation are the same whatever the picture. Only this reads --data, --profile and
    --device, which mean what they mean to launch.
    """
    from optuna_study.actions.check_weights import check_weights
    from optuna_study.definition.read import find_study_file, read_study_file
    from optuna_study.definition.resolve import outline

    path = find_study_file(study)
    file = read_study_file(path)
    check_weights(file)
    click.echo(f"{path} is valid: {outline(file)}")
    if overfit:
        check_overfit(study, workspace, data=data, profile=profile, device=device)


def check_overfit(
    study: str, workspace: Workspace, *, data: Path | None, profile: str, device: str
) -> None:
    """Check a study's wiring and print what was found.

    Raises:
        CheckFailedError: the wiring is not sound.
    """
    from optuna_study.actions.check_wiring import check_wiring
    from optuna_study.errors import CheckFailedError

    checked = check_wiring(study, workspace, data=data, profile=profile, device=device)
    for note in checked.notes:
        log.info("%s", note)
    if not checked.sound:
        raise CheckFailedError(checked.sentence)
    click.echo(checked.sentence)
