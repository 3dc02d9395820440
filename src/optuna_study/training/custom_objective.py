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

from optuna_study.config.catalogue import explain_failure, import_reference
from optuna_study.config.schedule import lr_at
from optuna_study.errors import UsageError
from optuna_study.seeds import stream_seed
from optuna_study.text import did_you_mean
from optuna_study.training.device import random_stream
from optuna_study.training.optimizers import set_lr
from optuna_study.training.run import Run, Steps

REQUIRED = ("train_loss", "train_accuracy")
VALIDATION = (
    *("validation_loss", "validation_accuracy"),
    *("balanced_accuracy", "macro_f1", "log_loss"),
)
FIGURES = (*REQUIRED, *VALIDATION, "lr", "gradient_norm")

_ASKED = f"it is called as function(run, epoch) and gives a dictionary with {', '.join(REQUIRED)}"


def check_objective(reference: str) -> None:
    """Look at an objective before anything relies on it.

    Raises:
        UsageError: it cannot be imported or called.
    """
    with explain_failure("objective", reference, _ASKED):
        inspect.signature(import_reference(reference)).bind(object(), 1)


def train_epoch(run: Run, epoch: int) -> Steps | None:
    """An epoch by the run's objective, None when it was stopped.

    Its figures count as those of a single step.

    Raises:
        UsageError: it gives something else; what it raises itself passes through.
    """
    settings, steps = run.config.train, run.steps_per_epoch
    lr = lr_at(settings, (epoch - 1) * steps, steps) * run.plateau.factor
    set_lr(run.optimizer, lr)
    run.model.train()
    with random_stream(run.device, stream_seed(settings.seed, "objective", epoch)):
        figures = import_reference(settings.objective)(run, epoch)
    if figures is None and run.stop.is_set():
        return None
    _check_figures(settings.objective, figures)
    values = {name: float(value) for name, value in figures.items()}
    loss, norm = values["train_loss"], values.get("gradient_norm", math.nan)
    lr = values.get("lr", lr)
    watched = 0.0 if math.isnan(norm) else norm  # a norm that is not given is no divergence
    return Steps(
        losses=[loss],
        norms=[norm],
        correct=values["train_accuracy"] * run.pictures_per_step,
        lr=lr,
        divergence=run.watch.steps(epoch, epoch * steps, lr, [loss], [watched]),
        validation={name: values[name] for name in VALIDATION if name in values},
    )


def _check_figures(reference: str, figures: object) -> None:
    if not isinstance(figures, dict):
        raise UsageError(f"objective '{reference}': gave {type(figures).__name__}; {_ASKED}")
    for name in figures:
        if name not in FIGURES:
            raise UsageError(
                f"objective '{reference}': gives '{name}', {did_you_mean(name, FIGURES)}"
            )
    for name in REQUIRED:
        if name not in figures:
            raise UsageError(f"objective '{reference}': gives no '{name}'; {_ASKED}")
