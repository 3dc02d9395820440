"""A model in training: what it is made of and what is needed to resume it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import FULL_BATCH
from optuna_study.training import divergence, evaluation

if TYPE_CHECKING:
    import torch
    from torch import nn

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData
    from optuna_study.training.evaluation import Evaluation, Read

STATE_VERSION = 1


@dataclass
class Run:
    """A model in training; `epoch` counts the epochs done, `stop` ends it before the next step."""

    config: TrainConfig
    data: DeviceData
    device: torch.device
    model: nn.Module
    optimizer: torch.optim.Optimizer
    watch: divergence.Watch
    read: Read
    epoch: int = 0
    ended: bool = False
    interrupted: bool = False
    validation: Evaluation | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def batch_size(self) -> int:
        """Pictures per step: no more than there are."""
        return min(self.config.train.batch_size, len(self.data.train_labels))

    @property
    def steps_per_epoch(self) -> int:
        """Updates per epoch: one for each whole batch, or a single one of full-batch descent.

        The pictures left over by whole batches change from epoch to epoch.
        """
        return len(self.data.train_labels) // self.pictures_per_step

    @property
    def pictures_per_step(self) -> int:
        """Training pictures that a step learns from."""
        full = self.config.train.optimizer in FULL_BATCH
        return len(self.data.train_labels) if full else self.batch_size

    def confusion(self) -> torch.Tensor:
        """The model's validation confusion matrix: classes x classes, int64, on the CPU."""
        if self.validation is None:
            data = self.data
            self.validation = evaluate(self, data.validation_images, data.validation_labels)
        return self.validation.confusion

    def test(self) -> Evaluation:
        """The figures on the held-out test pictures."""
        return evaluate(self, self.data.test_images, self.data.test_labels)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on after the last whole epoch; its tensors change with the model.

        Raises:
            RuntimeError: the run was stopped within an epoch, which no state describes.
        """
        if self.interrupted:
            raise RuntimeError("a run stopped within an epoch has no state to go on from")
        return {
            "version": STATE_VERSION,
            "fingerprint": self.data.fingerprint,
            "epoch": self.epoch,
            "ended": self.ended,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "watch": self.watch.state(),
        }


def evaluate(run: Run, images: torch.Tensor, labels: torch.Tensor) -> Evaluation:
    """The figures of a run's model on uint8 pictures, with one read of the device.

    Raises:
        DataError: there are no pictures.
    """
    return evaluation.evaluate(run.model, run.config, run.data, images, labels, read=run.read)
