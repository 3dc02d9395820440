"""Whether a study that has come to its end has something to show for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.errors import FruitlessError, NotFoundError
from optuna_study.store import reads
from optuna_study.store.records import EndKind, NoTrialReason

if TYPE_CHECKING:
    from collections.abc import Collection

    from optuna_study.store.open import Store
    from optuna_study.store.records import StudyRecord


def require_fruit(store: Store, study: StudyRecord, outcomes: Collection[str | None]) -> None:
    """Refuse to call a study done that has nothing to show; `outcomes` are why its workers left.

    Raises:
        NotFoundError: it was deleted.
        FruitlessError: none of its trials completed, or too many failed in a row.
    """
    name = study.name
    if NoTrialReason.DELETED in outcomes:
        raise NotFoundError(f"study '{name}' was deleted from {store.masked_url}")
    if NoTrialReason.TOO_MANY_FAILURES in outcomes:
        raise FruitlessError(
            f"{name}: too many trials failed in a row; `optuna-study trials {name}` gives the "
            "reasons, `optuna-study show` with --trial a traceback"
        )
    counts = reads.counts(store, study)
    if NoTrialReason.BUDGET_MET in outcomes and not counts.ends.get(EndKind.COMPLETED):
        raise FruitlessError(
            f"{name}: {counts.ended} trials ended and none completed; "
            f"`optuna-study trials {name}` gives the reasons"
        )
