"""`optuna-study report`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from optuna_study.cli.options import example
from optuna_study.cli.target import Target, study_target


@click.command(
    epilog=example(
        "optuna-study report alexnet_pokemon -o report.html",
        "optuna-study report alexnet_pokemon -f md -o -",
        "optuna-study report alexnet_pokemon second -o both.html",
    )
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="`-` is stdout.  [default: report.html or report.md]",
)
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["html", "md"]),
    help="[default: what FILE ends in, else html]",
)
@study_target
@click.argument("others", nargs=-1, metavar="[OTHER]...")
def command(
    target: Target, output: Path | None, form: str | None, others: tuple[str, ...]
) -> None:
    """Write a study's report: one page with its result, figures, tables and commands.

    Of several studies of a store: what each came to, whose winner is better on held-out pictures,
    their searches on the same axes, the winners' settings, and what differs between them.

    The page needs no network and can be sent to anyone. Markdown has the tables alone.
    """
    from optuna_study.report.document.write import form_of, report_text
    from optuna_study.report.export import write
    from optuna_study.report.figures.study_data import load_study_data

    form = form or form_of(output)
    output = output or Path(f"report.{form}")
    asked = [target, *(replace(target, study_name=name) for name in others)]
    several = [load_study_data(*each.open_study(), target.workspace) for each in asked]
    text = report_text(several[0], form, *several[1:])
    if str(output) == "-":
        click.echo(text, nl=False)
    else:
        write(output, text)
        click.echo(output)
