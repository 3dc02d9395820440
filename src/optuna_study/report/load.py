"""A study's records read from its store, with aggregates and single rows: no full load."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING

from optuna_study.config.reasons import BestEpoch
from optuna_study.report.comparison.page import is_comparison, load_comparison
from optuna_study.report.confirmation.page import load_confirmation
from optuna_study.report.summary import Summary, summarise
from optuna_study.store.pareto import weighed_trials
from optuna_study.store.reads import aggregates, reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from optuna_study.paths import Workspace
    from optuna_study.report.curves.read import Reading
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import EpochRecord, StudyRecord, TrialRecord

LOG_LINES = 20


def load_summary(store: Store, study: StudyRecord, readings: Sequence[Reading] = ()) -> Summary:
    """What a study has come to by now; `readings` are what its curves say, where that is wanted.

    Raises:
        StoreError: the store fails.
    """
    compared = is_comparison(study)
    summary = summarise(
        study,
        reads.counts(store, study),
        reads.best(store, study),
        [] if compared else reads.baselines(store, study),
        aggregates.mean_seconds(store, study),
        reads.progress(store, study),
        load_comparison(store, study, readings) if compared else None,
        None if compared else load_confirmation(store, study),
        aggregates.excluded(store, study),
        weighed_trials(store, study),
    )
    if compared or summary.winner is None:
        return summary
    return dataclasses.replace(summary, figures=kept_epoch(store, study, summary.winner))


def kept_epoch(store: Store, study: StudyRecord, trial: TrialRecord) -> EpochRecord | None:
    """The epoch that a trial ended with: its best one where it kept that, else its last."""
    curve = reads.epochs(store, study, trial.number)
    best = trial.reason.best if isinstance(trial.reason, BestEpoch) else None
    kept = [each for each in curve if best is None or each.epoch == best]
    return kept[-1] if kept else None


def trial_log(workspace: Workspace, study: StudyRecord, trial: TrialRecord) -> list[str]:
    """The last lines that workers of this machine logged while they held a trial.

    A worker has one trial at a time: what follows a claim in its log is about that trial. The
    lines of its traceback, which the store has, are left out.
    """
    stored = set((trial.traceback or "").splitlines())
    lines = [
        line
        for log in sorted(workspace.log(study.uuid, "any").parent.glob("*.log"))
        for part in _parts_about(trial.number, log, workspace.log_index(log))
        for line in part.splitlines()
        if line not in stored
    ]
    return lines[-LOG_LINES:]


def _parts_about(number: int, log: Path, index: Path) -> Iterator[str]:
    """What a log says of a trial; nothing where an earlier version wrote it, without an index."""
    if not index.is_file():
        return
    marks = [json.loads(line) for line in index.read_text().splitlines()]
    written = log.read_bytes()
    ends = [*(mark["from"] for mark in marks[1:]), len(written)]
    for mark, end in zip(marks, ends, strict=True):
        if mark["trial"] == number:
            yield written[mark["from"] : end].decode(errors="replace")


def now() -> float:
    """UTC seconds by this machine's clock."""
    return time.time()
