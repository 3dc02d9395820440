"""`optuna-study list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import (
    artifacts_option,
    example,
    format_option,
    storage_option,
    store_address,
)

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(epilog=example("optuna-study list", "optuna-study list -f json"))
@format_option()
@storage_option
@artifacts_option
def command(form: str, storage: StoreAddress | None, workspace: Workspace) -> None:
    """List the studies of a store, with their progress and best value."""
    from optuna_study.report.formats import render
    from optuna_study.report.pages import studies_table
    from optuna_study.report.rows import study_row
    from optuna_study.store.engine.open import open_store
    from optuna_study.store.reads.reads import list_studies

    studies = list_studies(open_store(store_address(storage, workspace)))
    click.echo(render(form, [study_row(each) for each in studies], studies_table(studies)))
