"""`optuna-study validate`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example


@click.command(
    epilog=example("optuna-study validate alexnet_pokemon", "optuna-study validate my/study.toml")
)
@click.argument("study", metavar="STUDY|FILE")
def command(study: str) -> None:
    """Tell every problem of a study file at once, without training."""
    from optuna_study.definition.outline import outline
    from optuna_study.definition.read import find_study_file, read_study_file

    path = find_study_file(study)
    click.echo(f"{path} is valid: {outline(read_study_file(path))}")
