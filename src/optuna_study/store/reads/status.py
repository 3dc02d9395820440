"""What a monitor asks of all studies of a store: four statements, however many there are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from optuna_study.store.records import EndKind, TrialState
from optuna_study.store.schema import own_schema, own_studies, own_trials, studies, trials
from optuna_study.store.studies.studies import ours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row, Select

    from optuna_study.store.engine.connection import Store


@dataclass(frozen=True)
class StudyStatus:
    """One study to a monitor; times are UTC seconds since 1970, None before the first."""

    name: str
    trials: Mapping[TrialState, int]
    total: int  # trials that are to end
    workers: int  # that hold a trial and renew their lease
    lost: int  # trials whose workers no longer do
    last_end: float | None
    last_failure: float | None

    @property
    def left(self) -> int:
        """How many trials have yet to end."""
        open_ones = (TrialState.WAITING, TrialState.RUNNING)
        ended = sum(amount for state, amount in self.trials.items() if state not in open_ones)
        return max(0, self.total - ended)


def require_reachable(store: Store) -> None:
    """Read one row of the store.

    Raises:
        StoreError: it cannot be read.
    """
    with store.read() as connection:
        connection.execute(select(own_schema.c.version)).all()


def study_statuses(store: Store) -> list[StudyStatus]:
    """All studies of ours, oldest first.

    Raises:
        StoreError: the store fails.
    """
    if not store.is_ours:
        return []
    counted: dict[int, dict[TrialState, int]] = defaultdict(dict)
    with store.read() as connection:
        rows = connection.execute(
            select(studies, own_studies).select_from(ours()).order_by(own_studies.c.created)
        ).all()
        by_state = select(trials.c.study_id, trials.c.state, func.count())
        query = by_state.group_by(trials.c.study_id, trials.c.state)
        for study_id, state, amount in connection.execute(query):
            counted[study_id][TrialState(state)] = amount
        lost = store.times(connection).lost
        work = {row.uuid: row for row in connection.execute(_work(lost))}
    return [_status(row, counted[row.study_id], work.get(row.uuid)) for row in rows]


def _work(lost: float) -> Select[Any]:
    own = own_trials.c
    held = own.token.is_not(None)
    return select(
        own.uuid,
        func.count(case((held & (own.lease_until >= lost), own.owner)).distinct()).label(
            "workers"
        ),
        func.count(case((held & (own.lease_until < lost), own.number))).label("lost"),
        func.max(own.completed).label("last_end"),
        func.max(case((own.end_kind == EndKind.FAILED.value, own.completed))).label("failure"),
    ).group_by(own.uuid)


def _status(
    row: Row[Any], counted: Mapping[TrialState, int], work: Row[Any] | None
) -> StudyStatus:
    return StudyStatus(
        name=row.study_name,
        trials=counted,
        total=row.budget + row.beside,
        workers=0 if work is None else work.workers,
        lost=0 if work is None else work.lost,
        last_end=None if work is None else work.last_end,
        last_failure=None if work is None else work.failure,
    )
