"""`optuna-study delete`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example
from optuna_study.cli.target import Target, study_target


@click.command(epilog=example("optuna-study delete alexnet_pokemon --yes"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@study_target
def command(target: Target, *, yes: bool) -> None:
    """Remove a STUDY with its trials and files.

    Workers that are training its trials drop them. Files in other folders than --artifacts stay.
    """
    from optuna_study.actions.delete import remove
    from optuna_study.cli.steering import require_consent

    store, study = target.open_study(exact=True)
    if not yes:
        require_consent(store, study)
    click.echo(remove(store, study, target.workspace).sentence)
