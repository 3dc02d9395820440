"""`optuna-study resume`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, invocation
from optuna_study.cli.target import Target, study_target


@click.command(epilog=example("optuna-study resume alexnet_pokemon"))
@study_target
def command(target: Target) -> None:
    """Let a STUDY go on that was paused, stopped, or failed too often in a row.

    Workers that wait take it up; `worker` and `launch` bring others.
    """
    from optuna_study.cli.steering import steer
    from optuna_study.store.records import StudyState

    click.echo(invocation().pasteable(steer(target, StudyState.ACTIVE)))
