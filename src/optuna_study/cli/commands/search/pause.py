"""`optuna-study pause`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, invocation
from optuna_study.cli.target import Target, study_target


@click.command(epilog=example("optuna-study pause alexnet_pokemon"))
@study_target
def command(target: Target) -> None:
    """Start no new trials of a STUDY; those that run finish.

    Its workers end, or wait with `worker --forever`; `resume` lets it go on.
    """
    from optuna_study.cli.steering import steer
    from optuna_study.store.records import StudyState

    click.echo(invocation().pasteable(steer(target, StudyState.PAUSED)))
