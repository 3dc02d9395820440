"""`optuna-study export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import artifacts_option, example, storage_option, store_address

if TYPE_CHECKING:
    from optuna_study.config.text import Format
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(
    epilog=example(
        "optuna-study export alexnet_pokemon -o best.toml",
        "optuna-study export alexnet_pokemon --trial 3 -f json",
    )
)
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--trial", type=click.IntRange(0), metavar="N", help="[default: the best]")
@click.option(
    "-f", "--format", "form", type=click.Choice(["toml", "yaml", "json"]), help="[default: toml]"
)
@storage_option
@artifacts_option
def command(
    study: str,
    output: Path | None,
    trial: int | None,
    form: Format | None,
    storage: StoreAddress | None,
    workspace: Workspace,
) -> None:
    """Write the best trial's complete training configuration, for `train`.

    Goes to stdout without -o. The form follows the file's name when -f is not given.
    """
    from optuna_study.report.export import export_trial, form_of, write
    from optuna_study.store.engine.open import open_store
    from optuna_study.store.studies.studies import load_study

    store = open_store(store_address(storage, workspace))
    text = export_trial(store, load_study(store, study), trial, form or form_of(output))
    if output is None:
        click.echo(text, nl=False)
    else:
        write(output, text)
        click.echo(output)
