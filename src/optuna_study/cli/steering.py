"""What `pause`, `resume`, `stop` and `delete` do and say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from optuna_study.errors import UsageError
from optuna_study.store.reads import reads
from optuna_study.store.records import StudyState
from optuna_study.store.studies.studies import load_study
from optuna_study.text import Advice, count

if TYPE_CHECKING:
    from optuna_study.cli.target import Target
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def steer(target: Target, state: StudyState) -> Advice:
    """Tell a study's workers what to do, and say what comes of it.

    Raises:
        NotFoundError: no such study.
        StoreError: the store cannot be reached.
    """
    from optuna_study.launch.change_state import change_state
    from optuna_study.launch.options import launch_words

    store, study = target.open_study()
    change_state(store, study, state)
    study = load_study(store, study.name)
    counts = reads.counts(store, study)
    if study.is_done(counts.ended):
        return Advice(
            f"{study.name} has ended all of its {count(study.total, 'trial')}; ",
            [*launch_words(study), "--n-trials", "N"],
            f" with more than {study.budget} gives it more.",
        )
    if state is StudyState.ACTIVE:
        left = count(max(0, study.total - counts.ended), "trial")
        return Advice(
            f"{study.name} goes on, {left} to end; ", ["worker", study.name], " adds workers."
        )
    word = "paused" if state is StudyState.PAUSED else "stopped"
    still = f"{count(counts.running, 'running trial')} will finish" if counts.running else ""
    return Advice(
        f"{study.name} is {word}; {f'{still}; ' if still else ''}",
        ["resume", study.name],
        " lets it go on.",
    )


def require_consent(store: Store, study: StudyRecord) -> None:
    """Ask whether a study may be removed; where it may not, end with exit code 1.

    Raises:
        UsageError: nobody is there to ask.
    """
    counts = reads.counts(store, study)
    what = f"{study.name} in {store.address}"
    if not sys.stdin.isatty():
        raise UsageError(f"{what}: not removed, for nobody is there to ask; give --yes")
    running = f", {counts.running} of them running" if counts.running else ""
    trials = count(counts.ended + counts.running + counts.waiting, "trial")
    question = f"Remove {what} with {trials}{running} and all files?"
    if not click.confirm(question, err=True):
        click.echo(f"{study.name} is kept, nothing was removed.", err=True)
        raise click.exceptions.Exit(1)
