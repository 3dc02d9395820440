"""What training one configuration gave, and the page that `train` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna_study.report import values
from optuna_study.report.tables import pairs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from optuna_study.report.verify import Verdict


@dataclass(frozen=True)
class TrainResult:
    """What a training run gave; accuracies are fractions, `verdict` is None unless asked for."""

    epochs: int
    validation_accuracy: float
    validation_loss: float
    test_accuracy: float
    test_loss: float
    divergence: str | None
    environment: Mapping[str, Any]
    notes: tuple[str, ...]
    files: tuple[Path, ...]
    verdict: Verdict | None


def training_page(result: TrainResult) -> str:
    """The figures of a training run, what verifying found, and where the files are."""
    facts = {
        "validation accuracy": values.metric(values.ACCURACY, result.validation_accuracy),
        "test accuracy": values.metric(values.ACCURACY, result.test_accuracy),
        "validation loss": values.number(result.validation_loss),
        "test loss": values.number(result.test_loss),
        "epochs": str(result.epochs),
        "device": result.environment["device"],
    }
    if result.divergence:
        facts["diverged"] = result.divergence
    facts |= {
        "files" if index == 0 else " " * index: str(file)
        for index, file in enumerate(result.files)
    }
    verified = "".join(f"\nVerified: {each}." for each in _sentences(result))
    return pairs(facts) + verified


def _sentences(result: TrainResult) -> tuple[str, ...]:
    return result.verdict.sentences if result.verdict and result.verdict.matches else ()
