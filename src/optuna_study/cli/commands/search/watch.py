"""`optuna-study watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import (
    artifacts_option,
    example,
    invocation,
    place_options,
    storage_option,
    store_address,
)

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(epilog=example("optuna-study watch alexnet_pokemon"))
@click.argument("study")
@storage_option
@artifacts_option
def command(study: str, storage: StoreAddress | None, workspace: Workspace) -> None:
    """Follow a STUDY that runs elsewhere, until its budget is met or it is paused or stopped.

    Ends as `launch` does, with the best configuration and the baselines beside it.
    """
    from optuna_study.cli.watching import see_through
    from optuna_study.launch.watch import Watched, watch
    from optuna_study.store.engine.open import open_store
    from optuna_study.store.studies.studies import load_study

    store = open_store(store_address(storage, workspace))
    watched = Watched(load_study(store, study), store)
    see_through(watched, watch(watched), place_options(), quiet=invocation().quiet)
