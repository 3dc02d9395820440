"""`optuna-study doctor`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, format_option, place_options
from optuna_study.cli.target import Target, store_target


@click.command(
    epilog=example(
        "optuna-study doctor", "optuna-study doctor alexnet_pokemon", "optuna-study doctor --fix"
    )
)
@click.argument("study", required=False)
@click.option(
    "--fix",
    is_flag=True,
    help="Give back lost workers' trials, remove left-over files and damaged caches.",
)
@format_option("table", "json")
@store_target
def command(target: Target, study: str | None, form: str, *, fix: bool) -> None:
    """Say what is wrong with a STUDY, its store and this machine, and what to do about it.

    Lost workers, failed trials, schema, missing pictures, GPU, and what each loss curve says:
    learning rate too large, overfit, too slow, poorly initialised, diverging, dead. Without a
    study: the store and the machine. Ends with exit code 1 when it has found something.
    """
    from optuna_study.actions.doctor import Request, examine
    from optuna_study.errors import CheckFailedError
    from optuna_study.report.checkup import render

    given = target.storage is not None
    checkup = examine(Request(target.address, target.workspace, study, fix, given))
    click.echo(render(checkup, form, place_options()))
    if checkup.findings:
        raise CheckFailedError(checkup.verdict)
