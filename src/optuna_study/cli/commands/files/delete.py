"""`optuna-study delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import artifacts_option, example, storage_option, store_address

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(epilog=example("optuna-study delete alexnet_pokemon --yes"))
@click.argument("study")
@click.option("--yes", is_flag=True, help="Do not ask.")
@storage_option
@artifacts_option
def command(study: str, storage: StoreAddress | None, workspace: Workspace, *, yes: bool) -> None:
    """Remove a STUDY with its trials and files.

    Workers that are training its trials drop them. Files in other folders than --artifacts stay.
    """
    from optuna_study.actions.delete import remove
    from optuna_study.cli.steering import require_consent
    from optuna_study.store.engine.open import open_store
    from optuna_study.store.studies.studies import load_study

    store = open_store(store_address(storage, workspace))
    record = load_study(store, study)
    if not yes:
        require_consent(store, record)
    click.echo(remove(store, record, workspace).sentence)
