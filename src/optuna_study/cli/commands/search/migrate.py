"""`optuna-study migrate`."""

from __future__ import annotations

import sys

import click

from optuna_study.cli.options import example, invocation
from optuna_study.cli.target import Target, study_target


@click.command(
    epilog=example("optuna-study migrate alexnet_pokemon --definition studies/wider.toml")
)
@click.option(
    "--definition",
    required=True,
    metavar="FILE",
    help="The changed study file: its own, or another of the same pictures and metric.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@study_target
def command(target: Target, definition: str, *, yes: bool) -> None:
    """Bring a STUDY under a changed definition, with its trials that are still valid.

    Shows what changes, and asks. A choice may be added or removed, a range widened or narrowed, a
    setting fixed or searched, a baseline added. A trial is carried over when the new space holds
    exactly what it trained; the others are excluded with the reason. No trial may run. The study
    as it was stays beside it under another name.
    """
    from optuna_study.actions.migrate import carry_out, work_out
    from optuna_study.errors import UsageError

    store, study = target.open_study()
    migration = work_out(store, study, definition)
    click.echo("\n".join([f"{study.name}:", *migration.lines]), err=not yes)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{study.name}: nobody is there to ask", "give --yes")
        if not click.confirm("Migrate?", err=True):
            click.echo(f"{study.name} is as it was.", err=True)
            raise click.exceptions.Exit(1)
    click.echo(invocation().pasteable(carry_out(store, target.workspace, migration)))
