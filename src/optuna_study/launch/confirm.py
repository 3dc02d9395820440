"""From the options of `confirm` to a task: workers that train a study's best ones again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.definition.model import Confirm
from optuna_study.definition.serialise import from_json
from optuna_study.errors import UsageError
from optuna_study.launch.change_state import is_confirmed_again
from optuna_study.launch.join import join
from optuna_study.launch.task import Task
from optuna_study.store.reads import reads
from optuna_study.store.reads.aggregates import confirming
from optuna_study.store.records import Confirmation, StudyState
from optuna_study.store.studies.studies import load_study, set_confirmation, set_state
from optuna_study.text import Advice, count

if TYPE_CHECKING:
    from optuna_study.launch.task import StudyTask
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def prepare_confirmation(
    study_name: str, top: int | None = None, seeds: int | None = None, **options: Any
) -> StudyTask:
    """Check everything, then ask for the confirmation of a study, with which its search is over.

    What was confirmed before counts; what was begun is ended first. Without `top` and `seeds` it
    is what the study's file says; `options` are those of `join`.

    Raises:
        UsageError: it is searching, or it is a comparison; and what `join` raises.
    """
    for name, given in (("--top", top), ("--seeds", seeds)):
        if given is not None and not 1 <= given <= MOST:
            raise UsageError(f"{name} {given}: give a number from 1 to {MOST}")
    task = join(study_name, **options)
    study, store = load_study(task.store, study_name), task.store
    early = _is_early(store, study)
    wanted = from_json(study.definition).search.confirm
    asked = Confirmation(
        top or wanted.top or Confirm().top,
        seeds or wanted.seeds,
        early,
        again=is_confirmed_again(store, study),
    )
    set_confirmation(store, study, asked)
    if study.halted or study.state is not StudyState.ACTIVE:
        set_state(store, study, StudyState.ACTIVE)
    return Task(store, load_study(store, study.name), task.workspace, task.workers, task.timeout)


MOST = 100  # as in a study's file


def _is_early(store: Store, study: StudyRecord) -> bool:
    """Whether a study that may be confirmed has not searched all that it was to."""
    if study.definition.get("only") is not None:
        raise UsageError(
            f"{study.name} compares its baselines on several seeds already; launch it with "
            "--seeds for more"
        )
    counts, runs = reads.counts(store, study), confirming(store, study)
    left = study.total - len(runs) - (counts.ended - counts.confirmations)
    if left > 0 and counts.running:
        raise UsageError(
            f"{study.name} is searching, {count(counts.running, 'trial')} at work",
            Advice(["stop", study.name], " lets them end; confirm it then"),
        )
    return left > 0
