"""`optuna-study worker`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import (
    allow_option,
    artifacts_option,
    crew_options,
    example,
    invocation,
    place_options,
    storage_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(
    epilog=example(
        "optuna-study worker alexnet_pokemon --data ~/pokemon",
        "optuna-study worker --forever --storage postgresql://ann@db/studies",
    )
)
@click.argument("study", required=False)
@click.option("--forever", is_flag=True, help="Wait for more when nothing is left to do.")
@allow_option
@click.option("--timeout", type=float, metavar="S", help="Seconds of this command.")
@crew_options
@storage_option
@artifacts_option
def command(
    study: str | None,
    *,
    data: Path | None,
    workers: str | int,
    device: str,
    timeout: float | None,
    forever: bool,
    allowed: tuple[str, ...],
    storage: StoreAddress | None,
    workspace: Workspace,
) -> None:
    """Run trials of a STUDY that is in the store, or of all of them, until none are left.

    Studies with a higher priority come first, equals share the workers. A study's pictures are
    found by their fingerprint: in --data, where the study was launched, or as a data set of that
    name. Functions of one's own that a study names are run only where --allow names their module.
    Ctrl-C gives running trials back.
    """
    from optuna_study.cli.waiting import waiting
    from optuna_study.cli.watching import see_through
    from optuna_study.launch.join import join
    from optuna_study.launch.local import ThisMachine
    from optuna_study.launch.supervise import WorkerPool

    with waiting("Starting torch and looking for the pictures"):
        task = join(
            study,
            data=data,
            device=device,
            workers=workers,
            timeout=timeout,
            forever=forever,
            allowed=allowed,
            storage=storage,
            workspace=workspace,
        )
    with WorkerPool(task, ThisMachine()) as pool:
        see_through(task, pool.ticks(), place_options(), quiet=invocation().quiet)
