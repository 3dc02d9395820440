"""`optuna-study stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import (
    artifacts_option,
    example,
    invocation,
    storage_option,
    store_address,
)

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(epilog=example("optuna-study stop alexnet_pokemon"))
@click.argument("study")
@storage_option
@artifacts_option
def command(study: str, storage: StoreAddress | None, workspace: Workspace) -> None:
    """End a STUDY early: no new trials, those that run finish.

    What it has found stays; `resume` or `launch` take it up again after all.
    """
    from optuna_study.cli.steering import steer
    from optuna_study.store.records import StudyState

    said = steer(study, store_address(storage, workspace), StudyState.STOPPING)
    click.echo(invocation().pasteable(said))
