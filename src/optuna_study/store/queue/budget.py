"""How far a study's budget goes: its trials counted, and why a claim is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, update

from optuna_study.store.queue.confirmation import read_confirmation
from optuna_study.store.records import NoTrialReason, StudyState, TrialState
from optuna_study.store.schema import own_studies, trials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row

    from optuna_study.store.records import StudyRecord

SETTLE_AFTER = 50  # ended trials that claims count again before they are settled


@dataclass(frozen=True)
class TrialCount:
    """How many trials of a study have ended, run and wait, plain Optuna's among them."""

    ended: int
    running: int
    waiting: int
    lowest_waiting: int | None

    @property
    def next_number(self) -> int:
        """The number of a new trial: they run from 0 without a gap."""
        return self.ended + self.running + self.waiting


def count_trials(connection: Connection, study: StudyRecord, settings: Row[Any]) -> TrialCount:
    """Count a study's trials; those known to have ended for good are not looked at again."""
    fresh = {"of_id": study.study_id, "settled_id": settings.settled_id}
    rows = connection.execute(_COUNT, fresh)
    found = {TrialState(state): tuple(rest) for state, *rest in rows}
    running = found.pop(TrialState.RUNNING, (0, None, None))
    waiting = found.pop(TrialState.WAITING, (0, None, None))
    ended = sum(count for count, _, _ in found.values())
    if ended >= SETTLE_AFTER:
        open_ids = [first for _, _, first in (running, waiting) if first is not None]
        _settle(connection, settings, fresh, min(open_ids, default=None))
    return TrialCount(settings.settled + ended, running[0], waiting[0], waiting[1])


_IS_FRESH = (trials.c.study_id == bindparam("of_id")) & (
    trials.c.trial_id > bindparam("settled_id")
)
_COUNT = (  # built once: that takes longer than SQLite does
    select(trials.c.state, func.count(), func.min(trials.c.number), func.min(trials.c.trial_id))
    .where(_IS_FRESH)
    .group_by(trials.c.state)
)


def _settle(
    connection: Connection,
    settings: Row[Any],
    fresh: Mapping[str, int],
    first_open: int | None,
) -> None:
    """Remember how many trials have ended before the first that has not."""
    before = _IS_FRESH if first_open is None else _IS_FRESH & (trials.c.trial_id < first_open)
    count, last = connection.execute(
        select(func.count(), func.max(trials.c.trial_id)).where(before), dict(fresh)
    ).one()
    if count:
        connection.execute(
            update(own_studies)
            .where(own_studies.c.uuid == settings.uuid)
            .values(settled=settings.settled + count, settled_id=last)
        )


def stage_table(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a definition says of its second stage; empty where it has none."""
    return definition.get("search", {}).get("finetune") or {}


def is_of_second_stage(definition: Mapping[str, Any], budget: int, left: int) -> bool:
    """Whether a new trial, one of the last `left`, takes the settings of one before it."""
    return left <= min(int(stage_table(definition).get("trials", 0)), budget // 2)


def find_refusal(settings: Row[Any], counted: TrialCount) -> NoTrialReason | None:
    """Why a study hands out no trial now, or None when it does.

    Where confirmation comes early, what was begun is all that there is.
    """
    total = settings.budget + settings.beside
    confirm = read_confirmation(settings.confirm)
    if confirm is not None and confirm.early:
        total = min(total, counted.next_number)
    if counted.ended >= total:
        return NoTrialReason.BUDGET_MET
    if settings.state != StudyState.ACTIVE:
        paused = settings.state == StudyState.PAUSED
        return NoTrialReason.PAUSED if paused else NoTrialReason.STOPPING
    if settings.failures_in_a_row >= settings.stop_after_failures:
        return NoTrialReason.TOO_MANY_FAILURES
    if counted.ended + counted.running >= total:
        return NoTrialReason.BUDGET_TAKEN
    return None
