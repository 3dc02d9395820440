"""Where a trial's configuration comes from and what it reached, as its file says it."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna_study.store.records import EpochRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna_study.store.records import StudyRecord

# A value is one of the others again, and seconds are never the same twice.
CURVE = tuple(
    entry.name for entry in fields(EpochRecord) if entry.name not in ("value", "seconds")
)

LATE = ("balanced_accuracy", "macro_f1", "log_loss")


def provenance(study: StudyRecord, number: int, baseline: str | None) -> dict[str, Any]:
    """The study and the trial that a configuration is of, and the pictures it is for."""
    is_folder = Path(study.data_source).is_absolute()
    return {
        "study": study.name,
        "study_uuid": study.uuid,
        "study_seed": study.seed,
        "trial": number,
        "baseline": baseline,
        "metric": study.metric,
        "folder": study.data_source if is_folder else None,
        "fingerprint": study.fingerprint,
    }


def recorded(
    study: StudyRecord, value: float | None, curve: Sequence[EpochRecord]
) -> dict[str, Any]:
    """What the trial reached: its value and, a list each, the figures of its epochs."""
    if not curve:
        return {}
    figures = {name: [getattr(epoch, name) for epoch in curve] for name in CURVE}
    for name in LATE:  # epochs of earlier versions have none, and a list has to be whole
        if any(math.isnan(value) for value in figures[name]):
            del figures[name]
    return {"metric": study.metric, "value": value, "curve": figures}
