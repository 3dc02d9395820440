"""`optuna-study watch`."""

from __future__ import annotations

import click

from optuna_study.cli.options import example, invocation, place_options
from optuna_study.cli.target import Target, study_target


@click.command(epilog=example("optuna-study watch alexnet_pokemon"))
@study_target
def command(target: Target) -> None:
    """Follow a STUDY that runs elsewhere, until its budget is met or it is paused or stopped.

    Ends as `launch` does, with the best configuration and the baselines beside it.
    """
    from optuna_study.cli.watching import see_through
    from optuna_study.launch.task import Task
    from optuna_study.launch.watch import watch

    store, study = target.open_study()
    task = Task(store, study, target.workspace)
    see_through(task, watch(task), place_options(), quiet=invocation().quiet)
