"""`optuna-study pause`."""

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


@click.command(epilog=example("optuna-study pause alexnet_pokemon"))
@click.argument("study")
@storage_option
@artifacts_option
def command(study: str, storage: StoreAddress | None, workspace: Workspace) -> None:
    """Start no new trials of a STUDY; those that run finish.

    Its workers end, or wait with `worker --forever`; `resume` lets it go on.
    """
    from optuna_study.cli.steering import steer
    from optuna_study.store.records import StudyState

    said = steer(study, store_address(storage, workspace), StudyState.PAUSED)
    click.echo(invocation().pasteable(said))
