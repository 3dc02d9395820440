"""`optuna-study copy`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example
from optuna_study.cli.target import Target, study_target


@click.command(
    epilog=example(
        "optuna-study copy alexnet_pokemon --to postgresql://ann@db/studies",
        "optuna-study copy alexnet_pokemon --to sqlite:///storage/studies.db --name second",
    )
)
@click.option(
    "--to",
    required=True,
    metavar="URL",
    help="Store to copy to, made if need be. PGPASSWORD or ~/.pgpass keep a password out of `ps`.",
)
@click.option(
    "--to-artifacts", metavar="DIR", help="Folder of the copy's files. [default: the study's own]"
)
@click.option("--name", metavar="NAME", help="Call the copy so. [default: the study's name]")
@study_target
def command(target: Target, to: str, to_artifacts: str | None, name: str | None) -> None:
    """Copy a STUDY with its files to another store, or within one under another name.

    The original stays as it is and may be at work: its running trials wait in the copy, to be gone
    on with from their checkpoints.
    """
    from optuna_study.actions.copy import CopyRequest, copy_study
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress

    files = target.workspace
    there = Workspace.locate(to_artifacts) if to_artifacts else files
    destination = StoreAddress.parse(to)
    done = copy_study(
        CopyRequest(target.study_name, target.address, files, destination, there, name)
    )
    click.echo(done.sentence)
