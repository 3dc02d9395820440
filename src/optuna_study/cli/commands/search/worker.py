"""`optuna-study worker`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from optuna_study.cli.options import (
    artifacts_option,
    crew_options,
    example,
    invocation,
    place_options,
    storage_option,
)

if TYPE_CHECKING:
    from optuna_study.paths import Workspace


@click.command(
    epilog=example(
        "optuna-study worker alexnet_pokemon --data ~/pokemon",
        "optuna-study worker --forever --storage postgresql://ann@db/studies",
    )
)
@click.argument("study", required=False)
@click.option("--forever", is_flag=True, help="Wait for more when nothing is left to do.")
@click.option("--timeout", type=float, metavar="S", help="Seconds of this command.")
@crew_options
@storage_option
@artifacts_option
def command(study: str | None, workspace: Workspace, **options: Any) -> None:
    """Run trials of a STUDY that is in the store, or of all of them, until none are left.

    Studies with a higher priority come first, equals share the workers. A study's pictures are
    found by their fingerprint: in --data, where the study was launched, or as a data set of that
    name. Ctrl-C gives running trials back.
    """
    from optuna_study.cli.watching import see_through
    from optuna_study.launch.join import JoinRequest, join
    from optuna_study.launch.local import ThisMachine
    from optuna_study.launch.supervise import run

    joined = join(JoinRequest(study, workspace=workspace, **options))
    ticks = run(joined, ThisMachine())
    see_through(joined, ticks, place_options(), quiet=invocation().quiet)
