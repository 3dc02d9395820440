"""`optuna-study plot`."""

from __future__ import annotations

from pathlib import Path

import click

from optuna_study.cli.options import example
from optuna_study.cli.target import Target, study_target


@click.command(
    epilog=example(
        "optuna-study plot alexnet_pokemon history -o history.html",
        "optuna-study plot alexnet_pokemon confusion --trial 3 -o confusion.png",
    )
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ends in .html, .json, .png, .svg or .pdf.  [default: KIND.html]",
)
@click.option("--trial", type=click.IntRange(0), metavar="N", help="[default: the best]")
@study_target
@click.argument("kind", required=False)
def command(target: Target, kind: str | None, output: Path | None, trial: int | None) -> None:
    """Write one figure of a study; without KIND, list the figures that there are.

    PNG, SVG and PDF need the extra `png` and an installed Chrome or Chromium.
    """
    from optuna_study.report.document.write import require_form, write_figure
    from optuna_study.report.figures.kinds import KINDS, find_kind
    from optuna_study.report.figures.study_data import load_study_data
    from optuna_study.report.tables import table

    if kind is None:
        click.echo(table(["kind", "shows"], [[one.name, one.title] for one in KINDS.values()]))
        return
    found = find_kind(kind)
    output = output or Path(f"{found.name}.html")
    require_form(output)
    store, study = target.open_study()
    write_figure(output, found, load_study_data(store, study, target.workspace, trial))
    click.echo(output)
