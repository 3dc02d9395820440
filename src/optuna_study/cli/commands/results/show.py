"""`optuna-study show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import (
    artifacts_option,
    example,
    format_option,
    place_options,
    storage_option,
    store_address,
)

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(
    epilog=example(
        "optuna-study show alexnet_pokemon", "optuna-study show alexnet_pokemon --trial 3"
    )
)
@click.argument("study")
@click.option("--trial", type=click.IntRange(0), metavar="N", help="Show this trial instead.")
@format_option("table", "json", "yaml")
@storage_option
@artifacts_option
def command(
    study: str, trial: int | None, form: str, storage: StoreAddress | None, workspace: Workspace
) -> None:
    """Show where a study stands, or one of its trials.

    A study: state, best, baselines, ends by reason, what mattered, time left. A trial: settings,
    curve, reason, traceback, end of its log.
    """
    from optuna_study.report.show import show_study, show_trial
    from optuna_study.store.engine.open import open_store
    from optuna_study.store.studies.studies import load_study

    store = open_store(store_address(storage, workspace))
    record = load_study(store, study)
    if trial is None:
        text = show_study(store, record, form, place_options())
    else:
        text = show_trial(store, record, trial, workspace, form)
    click.echo(text)
