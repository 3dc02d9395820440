"""`optuna-study include`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, invocation
from optuna_study.cli.target import Target, study_target


@click.command(epilog=example("optuna-study include alexnet_pokemon 7"))
@study_target
@click.argument("trials", type=click.IntRange(0), nargs=-1, required=True, metavar="TRIAL...")
def command(target: Target, trials: tuple[int, ...]) -> None:
    """Take trials of a STUDY back in that `exclude` has left out."""
    from optuna_study.actions.exclude import include

    store, study = target.open_study()
    click.echo(invocation().pasteable(include(store, study, trials)))
