"""An epoch by somebody's own function: the objective that a configuration names.

The function is called as `function(run, epoch)` and trains `run.model` with `run.optimizer` for
one epoch: what it keeps elsewhere is not in a checkpoint. torch's global random numbers are
seeded by trial and epoch, so that a resumed run is the same run; the optimizer has the schedule's
rate. It gives the epoch's figures by name, or None when `run.stop` is set. Validation figures that
it leaves out are those of the model in the usual way.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING

from optuna_study.config.catalogue import resolve, usable
from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna_study.training.run import Run

REQUIRED = ("train_loss", "train_accuracy")
VALIDATION = ("validation_loss", "validation_accuracy")
FIGURES = (*REQUIRED, *VALIDATION, "lr", "gradient_norm")

_ASKED = f"it is called as function(run, epoch) and gives a dictionary with {', '.join(REQUIRED)}"


def check_objective(reference: str) -> None:
    """Look at an objective before anything relies on it.

    Raises:
        UsageError: it cannot be imported or called.
    """
    with usable("objective", reference, _ASKED):
        inspect.signature(resolve(reference)).bind(object(), 1)


def train_epoch(run: Run, epoch: int) -> Mapping[str, float] | None:
    """The figures that the run's objective gives for an epoch, None when it was stopped.

    Raises:
        UsageError: it gives something else; what it raises itself passes through.
    """
    reference = run.config.train.objective
    told = resolve(reference)(run, epoch)
    if told is None and run.stop.is_set():
        return None
    if not isinstance(told, dict):
        raise UsageError(f"objective '{reference}': gave {type(told).__name__}; {_ASKED}")
    for name in told:
        if name not in FIGURES:
            raise UsageError(
                f"objective '{reference}': gives '{name}', {did_you_mean(name, FIGURES)}"
            )
    for name in REQUIRED:
        if name not in told:
            raise UsageError(f"objective '{reference}': gives no '{name}'; {_ASKED}")
    return {"gradient_norm": math.nan} | {name: float(value) for name, value in told.items()}
