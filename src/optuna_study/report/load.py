"""A study's records read from its store, with aggregates and single rows: no full load."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from optuna_study.report.comparison.page import is_comparison, load_comparison
from optuna_study.report.summary import Summary, summarise
from optuna_study.store.reads import aggregates, reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.paths import Workspace
    from optuna_study.report.curves.read import Reading
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord, TrialRecord

LOG_LINES = 20
_CLAIMED = re.compile(r" trial (\d+)( \(.*\))? claimed$")


def load_summary(store: Store, study: StudyRecord, readings: Sequence[Reading] = ()) -> Summary:
    """What a study has come to by now; `readings` are what its curves say, where that is wanted.

    Raises:
        StoreError: the store fails.
    """
    compared = is_comparison(study)
    return summarise(
        study,
        reads.counts(store, study),
        reads.best(store, study),
        [] if compared else reads.baselines(store, study),
        aggregates.mean_seconds(store, study),
        load_comparison(store, study, readings) if compared else None,
    )


def trial_log(workspace: Workspace, study: StudyRecord, trial: TrialRecord) -> list[str]:
    """The last lines that workers of this machine logged while they held a trial.

    A worker has one trial at a time: what follows a claim in its log is about that trial. The
    lines of its traceback, which the store has, are left out.
    """
    found: list[str] = []
    stored = set((trial.traceback or "").splitlines())
    for file in sorted(workspace.log(study.uuid, "any").parent.glob("*.log")):
        held: int | None = None
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            claimed = _CLAIMED.search(line)
            if claimed is not None:
                held = int(claimed[1])
            if held == trial.number and line not in stored:
                found.append(line)
    return found[-LOG_LINES:]


def now() -> float:
    """UTC seconds by this machine's clock."""
    return time.time()
