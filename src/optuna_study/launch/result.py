"""Whether studies that have come to an end have something to show for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.errors import FruitlessError, NotFoundError
from optuna_study.store.reads import reads
from optuna_study.store.records import EndKind, NoTrialReason
from optuna_study.text import Advice, count

if TYPE_CHECKING:
    from collections.abc import Collection

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


def halted_sentences(store: Store) -> list[Advice]:
    """A sentence for each study that too many failures in a row have stopped.

    Raises:
        StoreError: the store fails.
    """
    return [
        Advice(
            f"{each.name}: too many trials failed in a row, "
            f"{count(each.budget - each.ended, 'trial')} left to run; ",
            ["resume", each.name],
            " lets it go on",
        )
        for each in reads.list_studies(store)
        if each.halted and each.ended < each.budget
    ]


def require_fruit(store: Store, study: StudyRecord, outcomes: Collection[str | None]) -> None:
    """Refuse to call a study done that has nothing to show; `outcomes` are why its workers left.

    Raises:
        NotFoundError: it was deleted.
        FruitlessError: none of its trials completed, or too many failed in a row.
    """
    name = study.name
    if NoTrialReason.DELETED in outcomes:
        raise NotFoundError(f"study '{name}' was deleted from {store.address}")
    if NoTrialReason.TOO_MANY_FAILURES in outcomes:
        raise FruitlessError(
            f"{name}: too many trials failed in a row",
            Advice(
                ["trials", name],
                " gives the reasons, ",
                ["show", name],
                " with --trial a traceback, and ",
                ["resume", name],
                " or launching it again lets it go on",
            ),
        )
    counts = reads.counts(store, study)
    if NoTrialReason.BUDGET_MET in outcomes and not counts.ends.get(EndKind.COMPLETED):
        raise FruitlessError(
            f"{name}: {counts.ended} trials ended and none completed",
            Advice(["trials", name], " gives the reasons"),
        )
