"""`optuna-study trials`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, format_option
from optuna_study.cli.target import Target, study_target


@click.command(
    epilog=example(
        "optuna-study trials alexnet_pokemon",
        "optuna-study trials alexnet_pokemon -f csv > trials.csv",
    )
)
@format_option()
@study_target
def command(target: Target, form: str) -> None:
    """List the trials of a study, each with the reason it ended for."""
    from optuna_study.report.formats import render
    from optuna_study.report.pages import trials_table
    from optuna_study.report.rows import trial_row
    from optuna_study.store.reads import reads

    store, study = target.open_study()
    trials = reads.trials(store, study)
    if form == "table":
        click.echo(trials_table(study, trials))
    else:
        click.echo(render(form, [trial_row(each) for each in trials], ""))
