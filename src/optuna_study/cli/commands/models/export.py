"""`optuna-study export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import example
from optuna_study.cli.target import study_target

if TYPE_CHECKING:
    from optuna_study.cli.target import Target
    from optuna_study.config.text import Format


@click.command(
    epilog=example(
        "optuna-study export alexnet_pokemon -o best.toml",
        "optuna-study export alexnet_pokemon --trial 3 -f json",
    )
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--trial", type=click.IntRange(0), metavar="N", help="[default: the best]")
@click.option(
    "-f", "--format", "form", type=click.Choice(["toml", "yaml", "json"]), help="[default: toml]"
)
@study_target
def command(target: Target, output: Path | None, trial: int | None, form: Format | None) -> None:
    """Write the best trial's complete training configuration, for `train`.

    Goes to stdout without -o. The form follows the file's name when -f is not given.
    """
    from optuna_study.report.export import export_trial, form_of, write

    store, study = target.open_study()
    text = export_trial(store, study, trial, form or form_of(output))
    if output is None:
        click.echo(text, nl=False)
    else:
        write(output, text)
        click.echo(output)
