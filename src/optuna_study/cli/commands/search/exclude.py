"""`optuna-study exclude`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, invocation
from optuna_study.cli.target import Target, study_target


@click.command(
    epilog=example(
        "optuna-study exclude alexnet_pokemon 7",
        'optuna-study exclude alexnet_pokemon 7 12 --reason "wrong pictures mounted"',
    )
)
@click.option("--reason", default="by hand", show_default=True, metavar="TEXT")
@study_target
@click.argument("trials", type=click.IntRange(0), nargs=-1, required=True, metavar="TRIAL...")
def command(target: Target, trials: tuple[int, ...], reason: str) -> None:
    """Leave ended trials of a STUDY out of everything that is concluded from it.

    Best trial, confirmation, sampler, pruning and importances no longer look at them. They stay
    in the store and in the budget: `launch --n-trials` with a greater number replaces them.
    """
    from optuna_study.actions.exclude import exclude

    store, study = target.open_study()
    click.echo(invocation().pasteable(exclude(store, study, trials, reason)))
