"""Follow a study that others run: ticks like those of workers of one's own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from optuna_study.errors import UnreachableError
from optuna_study.launch.task import StudyTask, Tick, raise_if_nothing_completed
from optuna_study.store.engine.retry import MAX_WAIT
from optuna_study.store.queue import scheduling
from optuna_study.store.reads import reads
from optuna_study.store.records import NoTrialReason, StudyRecord, StudyState
from optuna_study.store.studies.studies import find_study

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna_study.store.engine.connection import Store

TICK = 1.0  # seconds between two looks


def watch(task: StudyTask, every: float = TICK, max_wait: float = MAX_WAIT) -> Iterator[Tick]:
    """Yield a tick every so many seconds until the study is over, paused or stopped.

    Raises:
        NotFoundError: it was deleted.
        NothingCompletedError: none of its trials completed, or too many failed in a row.
        UnreachableError: the store does not answer for `max_wait` seconds.
    """
    store, study = task.store, task.study
    over = None
    while over is None:
        messages: tuple[str, ...] = ()
        try:
            over = _over(store, study)
        except UnreachableError:  # the store's outage is logged once, wherever it is met
            if store.outage.seconds >= max_wait:
                raise
        if over in (NoTrialReason.PAUSED, NoTrialReason.STOPPING):
            messages = (
                f"{study.name} is {'paused' if over is NoTrialReason.PAUSED else 'stopped'}",
            )
        yield Tick((), messages)
        if over is None:
            time.sleep(every)
    raise_if_nothing_completed(store, study, {over})


def _over(store: Store, study: StudyRecord) -> NoTrialReason | None:
    """Why nothing will happen any more, if so; trials at work are waited for."""
    now = find_study(store, study.name)
    if now is None or now.uuid != study.uuid:
        return NoTrialReason.DELETED
    if now.is_done(reads.counts(store, now).ended):
        return NoTrialReason.BUDGET_MET
    if scheduling.count_held(store, now):
        return None
    if now.state is StudyState.ACTIVE:
        return NoTrialReason.TOO_MANY_FAILURES if now.halted else None
    return NoTrialReason.PAUSED if now.state is StudyState.PAUSED else NoTrialReason.STOPPING
