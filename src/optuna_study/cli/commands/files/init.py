"""`optuna-study init`."""

from __future__ import annotations

from pathlib import Path

import click

from optuna_study.cli.options import example, tell


@click.command(epilog=example("optuna-study init cats --data ~/pictures/cats"))
@click.argument("name")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Pictures, a folder a class.",
)
def command(name: str, folder: Path) -> None:
    """Write studies/NAME.toml, a commented study file for a folder of pictures of one's own."""
    from optuna_study.definition.init import write_study_file

    written = write_study_file(name, folder)
    for note in written.notes:
        tell(note)
    click.echo(f"{written.path}: {written.found}; next: optuna-study launch {name}")
