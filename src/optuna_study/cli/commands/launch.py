"""`optuna-study launch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optuna_study.cli.options import (
    artifacts_option,
    example,
    invocation,
    place_options,
    storage_option,
)

if TYPE_CHECKING:
    from optuna_study.paths import Workspace


def _workers(_context: click.Context, _: click.Parameter, value: str) -> str | int:
    return value if value == "auto" else click.INT(value)


@click.command(
    epilog=example(
        "optuna-study launch alexnet_pokemon",
        "optuna-study launch alexnet_pokemon --data ~/pokemon --profile cpu --n-trials 24",
        "optuna-study launch mnist_mlp --data mnist.npz --only baselines --seeds 3",
    )
)
@click.argument("study")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Pictures, a folder a class. [default: what the study file says]",
)
@click.option(
    "--profile",
    type=click.Choice(["auto", "full", "cpu"]),
    default="auto",
    show_default=True,
    help="The whole study, or its smaller version for machines without a GPU.",
)
@click.option("--name", metavar="NAME", help="Make a further study of the same file.")
@click.option("--n-trials", type=int, metavar="N", help="Trials in all, over every launch.")
@click.option("--timeout", type=float, metavar="S", help="Seconds of this launch.")
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    metavar="N|auto",
    callback=_workers,
    help="Trials at once, a process each; auto is what cores, memory and GPUs allow.",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]")
@click.option("--seed", type=int, metavar="N", help="Seed of a new study.")
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write each trial's curves, pictures and settings for TensorBoard, when it ends.",
)
@click.option(
    "--only",
    type=click.Choice(["baselines"]),
    help="Search nothing: compare the baselines over several seeds, as a study of its own.",
)
@click.option(
    "--seeds", type=int, metavar="S", help="With --only: runs of each baseline. [default: 3]"
)
@storage_option
@artifacts_option
def command(study: str, workspace: Workspace, **options: Any) -> None:
    """Create or resume a study: its baselines first, then the search, until the budget is met.

    Ends with the best configuration, the baselines beside it, and what to type next. Ctrl-C gives
    running trials back; the same command goes on from their checkpoints.
    """
    from optuna_study.cli.watching import closing, follow
    from optuna_study.errors import FruitlessError
    from optuna_study.workers.launch import LaunchRequest, prepare
    from optuna_study.workers.processes import ThisMachine
    from optuna_study.workers.supervise import run

    prepared = prepare(LaunchRequest(study, workspace=workspace, **options))
    try:
        follow(prepared, run(prepared, ThisMachine()), quiet=invocation().quiet)
    except FruitlessError:
        click.echo(closing(prepared, place_options()))
        raise
    click.echo(closing(prepared, place_options()))
