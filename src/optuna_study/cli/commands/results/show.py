"""`optuna-study show`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, format_option, place_options
from optuna_study.cli.target import Target, study_target


@click.command(
    epilog=example(
        "optuna-study show alexnet_pokemon", "optuna-study show alexnet_pokemon --trial 3"
    )
)
@click.option("--trial", type=click.IntRange(0), metavar="N", help="Show this trial instead.")
@format_option("table", "json", "yaml")
@study_target
def command(target: Target, trial: int | None, form: str) -> None:
    """Show where a study stands, or one of its trials.

    A study: state, best, baselines, ends by reason, what mattered, time left. A trial: settings,
    curve, reason, traceback, end of its log.
    """
    from optuna_study.report.show import show_study, show_trial

    store, study = target.open_study()
    if trial is None:
        text = show_study(store, study, form, place_options())
    else:
        text = show_trial(store, study, trial, target.workspace, form)
    click.echo(text)
