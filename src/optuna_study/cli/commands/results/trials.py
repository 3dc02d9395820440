"""`optuna-study trials`."""

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


@click.command(
    epilog=example(
        "optuna-study trials alexnet_pokemon",
        "optuna-study trials alexnet_pokemon -f csv > trials.csv",
    )
)
@click.argument("study")
@format_option()
@storage_option
@artifacts_option
def command(study: str, form: str, storage: StoreAddress | None, workspace: Workspace) -> None:
    """List the trials of a study, each with the reason it ended for."""
    from optuna_study.report.formats import render
    from optuna_study.report.pages import trials_table
    from optuna_study.report.rows import trial_row
    from optuna_study.store.engine.open import open_store
    from optuna_study.store.reads import reads
    from optuna_study.store.studies.studies import load_study

    store = open_store(store_address(storage, workspace))
    record = load_study(store, study)
    trials = reads.trials(store, record)
    table = trials_table(record, trials)
    click.echo(render(form, [trial_row(each) for each in trials], table))
