"""`optuna-study list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import example, format_option
from optuna_study.cli.target import store_target

if TYPE_CHECKING:
    from optuna_study.cli.target import Target


@click.command(epilog=example("optuna-study list", "optuna-study list -f json"))
@format_option()
@store_target
def command(target: Target, form: str) -> None:
    """List the studies of a store, with their progress and best value."""
    from optuna_study.report.formats import render
    from optuna_study.report.pages import studies_table
    from optuna_study.report.rows import study_row
    from optuna_study.store.reads.reads import list_studies

    studies = list_studies(target.open())
    click.echo(render(form, [study_row(each) for each in studies], studies_table(studies)))
