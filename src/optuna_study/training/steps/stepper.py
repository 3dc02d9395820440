"""Two ways to take the steps of an epoch: call by call, or by replaying a captured one.

The loop is the same; a run's `step_method` says which it was, where there was a choice.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from optuna_study.config.catalogue import FULL_BATCH, OPTIMIZERS, is_reference
from optuna_study.config.reproducibility import GRAPH
from optuna_study.seeds import stream_seed
from optuna_study.text import in_one_line
from optuna_study.training import device as devices
from optuna_study.training.optimizers import CAPTURED, set_lr
from optuna_study.training.recipe.mixing import Mixer, mixer_of
from optuna_study.training.recipe.policies import ON_BYTES, ON_FLOATS
from optuna_study.training.steps import kept
from optuna_study.training.steps.captured import CapturedStep, Graphs
from optuna_study.training.steps.step import step

if TYPE_CHECKING:
    from optuna_study.training.run import Run
    from optuna_study.training.steps.step import Figures

log = logging.getLogger(__name__)

LEAST_STEPS = 100
"""To capture one takes about ten; a run of fewer, from its first epoch on, does without."""


class Stepper(Protocol):
    """Takes the steps of an epoch and hands their figures out, some at a time."""

    def begin(self, epoch: int) -> None:
        """Start an epoch: what is random in its steps follows from its number."""

    def set_lr(self, lr: float) -> None:
        """The learning rate of the steps to come."""

    def step(self, pictures: torch.Tensor) -> None:
        """One update by the pictures at some indices."""

    def read(self) -> list[list[float]]:
        """Losses, gradient norms, right answers of the steps not yet read, in one read."""


def stepper_of(run: Run) -> Stepper:
    """What takes a run's steps: a graph where the device has them and it does what the calls do.

    Whatever fails is told in a line, and the run goes on without.
    """
    graphs = devices.cuda_graphs(run.device)
    if graphs is None:
        return EagerStepper(run)
    reason = why_eager(run)
    if reason is None:
        try:
            captured = _captured(run, graphs)
        except Exception as error:  # noqa: BLE001 - capture has many ways to fail
            reason = in_one_line(error)
            log.warning("no CUDA graph of its steps: %s; they go on call by call", reason)
        else:
            run.step_method = GRAPH
            log.info("steps are replayed as a CUDA graph")
            return GraphStepper(run, captured)
        kept.release()
        with suppress(RuntimeError):  # where torch still counts the capture as begun
            devices.release_memory(run.device)
        devices.require_usable(run.device)
    else:
        log.info("steps are called, not replayed: %s", reason)
        if kept.release():
            devices.release_memory(run.device)
    run.step_method = f"eager: {reason}"
    return EagerStepper(run)


def _captured(run: Run, graphs: Graphs) -> CapturedStep:
    """The step that an earlier run of the same shape has left, or a new one."""
    found = kept.find(kept.key_of(run.config, run.data, run.features), run)
    if isinstance(found, CapturedStep):
        found.take_over(run)
        return found
    kept.release()
    captured = CapturedStep(run, graphs)
    kept.put(captured)
    return captured


def why_eager(run: Run) -> str | None:
    """Why a run's steps are not tried as a graph, if so."""
    config, settings = run.config, run.config.train
    steps = settings.epochs * run.steps_per_epoch  # not those left: a resumed run goes on alike
    reasons = {
        "a capture has failed in this process": kept.has_given_up(),
        "an optimizer that takes all pictures at once": settings.optimizer in FULL_BATCH,
        f"{settings.optimizer} counts its steps on the host": (
            OPTIMIZERS[settings.optimizer].reference not in CAPTURED
        ),
        "the scaled losses of fp16": run.scaler is not None,
        "several batches a step": run.pictures_per_step != run.batch_size,
        "pictures on the host": run.reads_host,
        "a function of one's own": any(
            map(is_reference, (config.model.name, config.model.activation))
        ),
        "hooks of its optimizer": bool(
            run.optimizer._optimizer_step_pre_hooks or run.optimizer._optimizer_step_post_hooks
        ),
        "torchvision's augmentations": not {*ON_BYTES, *ON_FLOATS}.isdisjoint(run.augmentations),
        f"fewer than {LEAST_STEPS} steps": steps < LEAST_STEPS,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


@dataclass
class EagerStepper:
    """Steps that are told to the device call by call."""

    run: Run
    noise: torch.Generator | None = None
    mixer: Mixer | None = None
    figures: list[Figures] = field(default_factory=list)  # not yet read, on the device

    def begin(self, epoch: int) -> None:
        """Start an epoch."""
        settings = self.run.config.train
        seed = stream_seed(settings.seed, "augmentation", epoch)
        self.noise = torch.Generator(self.run.device).manual_seed(seed)
        self.mixer = mixer_of(settings, epoch)
        self.figures = []

    def set_lr(self, lr: float) -> None:
        """The learning rate of the steps to come."""
        set_lr(self.run.optimizer, lr)

    def step(self, pictures: torch.Tensor) -> None:
        """One update by the pictures at some indices."""
        assert self.noise is not None
        self.figures.append(step(self.run, pictures, self.noise, self.mixer))

    def read(self) -> list[list[float]]:
        """Losses, gradient norms, right answers of the steps not yet read."""
        columns = [torch.stack(column) for column in zip(*self.figures, strict=True)]
        numbers = self.run.read(torch.cat([column.float() for column in columns]))
        self.figures = []
        return _by_kind(numbers)


@dataclass
class GraphStepper:
    """Steps that replay a captured one."""

    run: Run
    captured: CapturedStep
    count: int = 0  # steps not yet read

    def begin(self, epoch: int) -> None:
        """Start an epoch."""
        self.captured.begin(epoch, self.run.config.train)
        self.captured.take_features(self.run)
        self.count = 0

    def set_lr(self, lr: float) -> None:
        """The learning rate of the steps to come."""
        set_lr(self.run.optimizer, lr)
        self.captured.take_rates()

    def step(self, pictures: torch.Tensor) -> None:
        """One update by the pictures at some indices."""
        self.captured.take(pictures)
        self.count += 1

    def read(self) -> list[list[float]]:
        """Losses, gradient norms, right answers of the steps not yet read."""
        count, self.count = self.count, 0
        numbers = self.run.read(self.captured.seen[:, :count].flatten())
        self.captured.place.zero_()
        return _by_kind(numbers)


def _by_kind(numbers: list[float]) -> list[list[float]]:
    """Losses, gradient norms and right answers, which stand one kind after the other."""
    count = len(numbers) // 3
    return [numbers[start : start + count] for start in range(0, len(numbers), count)]
