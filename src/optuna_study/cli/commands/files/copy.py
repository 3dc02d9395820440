"""`optuna-study copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import artifacts_option, example, storage_option, store_address

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(
    epilog=example(
        "optuna-study copy alexnet_pokemon --to postgresql://ann@db/studies",
        "optuna-study copy alexnet_pokemon --to sqlite:///storage/studies.db --name second",
    )
)
@click.argument("study")
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
@storage_option
@artifacts_option
def command(
    study: str,
    to: str,
    to_artifacts: str | None,
    name: str | None,
    storage: StoreAddress | None,
    workspace: Workspace,
) -> None:
    """Copy a STUDY with its files to another store, or within one under another name.

    The original stays as it is and may be at work: its running trials wait in the copy, to be gone
    on with from their checkpoints.
    """
    from optuna_study.actions.copy import CopyRequest, copy_study
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress

    place = Workspace.locate(to_artifacts) if to_artifacts else workspace
    source = store_address(storage, workspace)
    done = copy_study(CopyRequest(study, source, workspace, StoreAddress.parse(to), place, name))
    click.echo(done.sentence)
