"""Leave trials of a study out, or take them back in, and bring what it shows up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.report import values
from optuna_study.report.export import find_best
from optuna_study.report.load import load_summary
from optuna_study.report.notes import study_note
from optuna_study.store.studies import exclusion
from optuna_study.store.studies.dashboard_notes import write_note
from optuna_study.store.studies.studies import load_study
from optuna_study.text import Advice, count, join_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def exclude(store: Store, study: StudyRecord, numbers: Sequence[int], reason: str) -> Advice:
    """Leave trials out of best, confirmation, sampler, rungs and importances; what came of it.

    Raises:
        NotFoundError: no such trial.
        UsageError: one of them has not ended.
        StoreError: the store fails.
    """
    numbers = sorted(set(numbers))
    exclusion.exclude(store, study, numbers, reason)
    renew(store, study, study.measured_importances is not None)
    return Advice(
        f"{study.name}: {_named(numbers)} excluded, and counted in its budget as before; "
        f"{_best(store, study)}; ",
        ["include", study.name, *map(str, numbers)],
        " takes back.",
    )


def include(store: Store, study: StudyRecord, numbers: Sequence[int]) -> Advice:
    """Take trials back in; what came of it.

    Raises:
        NotFoundError: no such trial.
        UsageError: one of them has not ended.
        StoreError: the store fails.
    """
    numbers = sorted(set(numbers))
    exclusion.include(store, study, numbers)
    renew(store, study, study.measured_importances is not None)
    return Advice(f"{study.name}: {_named(numbers)} included; {_best(store, study)}.")


def renew(store: Store, study: StudyRecord, importances: bool) -> None:
    """Renew a study's note for the dashboard, and its importances if they are to be."""
    if importances:
        from optuna_study.search import importance
        from optuna_study.store.engine.optuna_bridge import optuna_storage

        importance.refresh(store, optuna_storage(store), study)
    record = load_study(store, study.name)
    write_note(store, record, study_note(load_summary(store, record)))


def _named(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"trial {numbers[0]} is"
    return f"{count(len(numbers), 'trial')} ({join_words([str(each) for each in numbers])}) are"


def _best(store: Store, study: StudyRecord) -> str:
    best = find_best(store, study)
    if best is None:
        return "no other trial has completed"
    value = values.metric(study.metric, best.value)
    return f"the best is trial {best.number}, {study.metric.replace('_', ' ')} {value}"
