"""`optuna-study confirm`."""

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
        "optuna-study confirm alexnet_pokemon",
        "optuna-study confirm alexnet_pokemon --top 5 --seeds 10",
    )
)
@click.argument("study")
@click.option("--top", type=int, metavar="K", help="How many of the best. [default: the study's]")
@click.option("--seeds", type=int, metavar="S", help="Runs of each. [default: the study's]")
@allow_option
@click.option("--timeout", type=float, metavar="S", help="Seconds of this command.")
@crew_options
@storage_option
@artifacts_option
def command(
    study: str,
    *,
    top: int | None,
    seeds: int | None,
    data: Path | None,
    workers: str | int,
    device: str,
    timeout: float | None,
    allowed: tuple[str, ...],
    storage: StoreAddress | None,
    workspace: Workspace,
) -> None:
    """Train the best trials of a STUDY and its best baseline again, on fresh seeds.

    Adds to the runs that there are; a search that was stopped or ran out of time ends
    with it. Says at last whether the winner is better than the baseline, on held-out
    pictures: better, not distinguishable or worse. Ctrl-C gives running trials back.
    """
    from optuna_study.cli.watching import see_through
    from optuna_study.launch.confirm import prepare_confirmation
    from optuna_study.launch.local import ThisMachine
    from optuna_study.launch.supervise import WorkerPool

    task = prepare_confirmation(
        study,
        top,
        seeds,
        data=data,
        device=device,
        workers=workers,
        timeout=timeout,
        allowed=allowed,
        storage=storage,
        workspace=workspace,
    )
    with WorkerPool(task, ThisMachine()) as pool:
        see_through(task, pool.ticks(), place_options(), quiet=invocation().quiet)
