"""`optuna-study list`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, format_option
from optuna_study.cli.target import Target, store_target


@click.command(epilog=example("optuna-study list", "optuna-study list --mine -f json"))
@click.option("--mine", is_flag=True, help="Only those whose owner is what `launch` would note.")
@format_option()
@store_target
def command(target: Target, form: str, *, mine: bool) -> None:
    """List the studies of a store, with their progress and best value.

    A study's owner is who made it: `launch --owner`, else OPTUNA_STUDY_OWNER of the environment,
    else the user's name. It is shown where there are several, and keeps nobody from anything.
    """
    from optuna_study.launch.owner import owner_of
    from optuna_study.report.formats import render
    from optuna_study.report.pages import studies_table
    from optuna_study.report.rows import study_row
    from optuna_study.store.reads.reads import list_studies

    studies = list_studies(target.open())
    if mine:
        me = owner_of()
        studies = [each for each in studies if each.owner == me]
    click.echo(render(form, [study_row(each) for each in studies], studies_table(studies)))
