"""What `launch`, `worker` and `watch` follow to its end, what is said meanwhile, how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from optuna_study.errors import NotFoundError, NothingCompletedError
from optuna_study.store.reads import reads
from optuna_study.store.records import EndKind, NoTrialReason, StudyRecord
from optuna_study.text import Advice, count

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store
    from optuna_study.worker.messages import WorkerTask


StudyT_co = TypeVar("StudyT_co", bound=StudyRecord | None, covariant=True)


@dataclass(frozen=True)
class Task(Generic[StudyT_co]):
    """A study, or a whole store, and the workers to run its trials; none where others do."""

    store: Store
    study: StudyT_co  # None for every active one of the store
    workspace: Workspace
    workers: tuple[WorkerTask, ...] = ()
    timeout: float | None = None  # seconds after which running trials are requeued
    resumed: bool = True  # trials may have ended before
    notes: tuple[str, ...] = ()  # for people: the stand-in taken, pictures repaired or skipped

    def log(self, worker: WorkerTask) -> Path:
        """The log file of a worker; a pattern where it has one in several studies."""
        return self.workspace.log("*" if self.study is None else self.study.uuid, worker.name)


StudyTask: TypeAlias = Task[StudyRecord]
AnyTask: TypeAlias = Task[StudyRecord | None]


@dataclass(frozen=True)
class WorkerView:
    """One worker, whose process is there unless `pid` is None."""

    name: str
    pid: int | None


@dataclass(frozen=True)
class Tick:
    """What happened since the last tick; the trials themselves are read from the store."""

    workers: tuple[WorkerView, ...]
    messages: tuple[str, ...]  # sentences for people, each once


def halted_sentences(store: Store) -> list[Advice]:
    """A sentence for each study that too many failures in a row have stopped.

    Raises:
        StoreError: the store fails.
    """
    return [
        Advice(
            f"{study.name}: too many trials failed in a row, "
            f"{count(study.total - study.ended, 'trial')} left to run; ",
            ["resume", study.name],
            " lets it go on",
        )
        for study in reads.list_studies(store)
        if study.halted and study.ended < study.total
    ]


def raise_if_nothing_completed(
    store: Store, study: StudyRecord, outcomes: Collection[str | None]
) -> None:
    """Refuse to call a study done that has nothing to show; `outcomes` are why its workers left.

    Raises:
        NotFoundError: it was deleted.
        NothingCompletedError: none of its trials completed, or too many failed in a row.
    """
    name = study.name
    if NoTrialReason.DELETED in outcomes:
        raise NotFoundError(f"study '{name}' was deleted from {store.address}")
    if NoTrialReason.TOO_MANY_FAILURES in outcomes:
        raise NothingCompletedError(
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
        raise NothingCompletedError(
            f"{name}: {counts.ended} trials ended and none completed",
            Advice(["trials", name], " gives the reasons"),
        )
