"""`optuna-study stop`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, invocation
from optuna_study.cli.target import Target, study_target


@click.command(epilog=example("optuna-study stop alexnet_pokemon"))
@study_target
def command(target: Target) -> None:
    """End a STUDY early: no new trials, those that run finish.

    What it has found stays; `resume` or `launch` take it up again after all.
    """
    from optuna_study.cli.steering import steer
    from optuna_study.store.records import StudyState

    click.echo(invocation().pasteable(steer(target, StudyState.STOPPING)))
