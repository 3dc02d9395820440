"""`optuna-study resume`."""

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


@click.command(epilog=example("optuna-study resume alexnet_pokemon"))
@click.argument("study")
@storage_option
@artifacts_option
def command(study: str, storage: StoreAddress | None, workspace: Workspace) -> None:
    """Let a STUDY go on that was paused, stopped, or failed too often in a row.

    Workers that wait take it up; `worker` and `launch` bring others.
    """
    from optuna_study.cli.steering import steer
    from optuna_study.store.records import StudyState

    said = steer(study, store_address(storage, workspace), StudyState.ACTIVE)
    click.echo(invocation().pasteable(said))
