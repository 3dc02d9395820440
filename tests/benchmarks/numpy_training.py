"""A small real optimisation in NumPy: repeatable to the last bit and resumable, without torch.

A net of one hidden layer learns to tell three arms of a spiral apart, by momentum on batches whose
order follows from the trial's seed and the epoch alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from optuna_study.config.epoch import EpochResult
from optuna_study.paths import writing, written_beside

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from optuna_study.config.settings import TrainConfig

ARMS = 3
POINTS = 80  # of each arm
HIDDEN = 24


def spirals(seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points (n, 2) of noisy spirals, and the arm each lies on (n,)."""
    draw = np.random.default_rng(seed)
    arms = np.repeat(np.arange(ARMS), POINTS)
    radius = np.tile(np.linspace(0.1, 1.0, POINTS), ARMS)
    angle = 4 * radius + 2 * np.pi * arms / ARMS + draw.normal(0, 0.15, arms.size)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points, arms


class NumpyTraining:
    """A training run as the objective sees it; its checkpoints go to `path`.

    An epoch lasts at least `epoch_seconds`, most of which it sleeps, so that many workers share a
    few cores.
    """

    def __init__(
        self,
        config: TrainConfig,
        path: Path | None = None,
        stop: threading.Event | None = None,
        epoch_seconds: float = 0.0,
    ) -> None:
        self.config = config
        self.epoch = 0
        self._path, self._stop, self._epoch_seconds = path, stop, epoch_seconds
        draw = np.random.default_rng(config.train.seed)
        self._first = draw.normal(0, 1.0, (2, HIDDEN))
        self._second = draw.normal(0, 0.3, (HIDDEN, ARMS))
        self._speeds = [np.zeros_like(self._first), np.zeros_like(self._second)]
        self._train, self._validation = spirals(1), spirals(2)

    def resume(self) -> int:
        """Go on from the checkpoint, if there is one; the epoch it was made after, else 0."""
        assert self._path is not None
        try:
            stored = np.load(self._path, allow_pickle=False)
        except FileNotFoundError:
            return 0
        with stored:
            self.epoch = int(stored["epoch"])
            self._first, self._second = stored["first"], stored["second"]
            self._speeds = [stored["first_speed"], stored["second_speed"]]
        return self.epoch

    def save(self) -> None:
        """Write the checkpoint of the last epoch."""
        assert self._path is not None
        state = {
            "epoch": np.array(self.epoch),
            "first": self._first,
            "second": self._second,
            "first_speed": self._speeds[0],
            "second_speed": self._speeds[1],
        }
        with writing(self._path), written_beside(self._path) as beside, beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **state)

    def epochs(self) -> Iterator[EpochResult]:
        """One result an epoch, until done or stopped."""
        while self.epoch < self.config.train.epochs:
            began = time.monotonic()
            norms = self._learn()
            result = self._measure(norms)
            rest = self._epoch_seconds - (time.monotonic() - began)
            if self._stop is not None and self._stop.wait(max(0.0, rest)):
                return
            yield result

    def _learn(self) -> list[float]:
        """One epoch; the norm of each step's gradient."""
        settings = self.config.train
        points, arms = self._train
        order = np.random.default_rng([settings.seed, self.epoch + 1]).permutation(arms.size)
        norms = []
        for start in range(0, arms.size, settings.batch_size):
            batch = order[start : start + settings.batch_size]
            hidden, probabilities = self._forward(points[batch])
            error = probabilities
            error[np.arange(batch.size), arms[batch]] -= 1.0
            error /= batch.size
            back = (error @ self._second.T) * (1 - hidden**2)
            gradients = [points[batch].T @ back, hidden.T @ error]
            norms.append(float(np.sqrt(sum((gradient**2).sum() for gradient in gradients))))
            for weights, speed, gradient in zip(
                (self._first, self._second), self._speeds, gradients, strict=True
            ):
                speed *= settings.momentum
                speed -= settings.lr * gradient
                weights += speed
        self.epoch += 1
        return norms

    def _forward(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Hidden activations (n, HIDDEN) and probabilities (n, ARMS)."""
        hidden = np.tanh(points @ self._first)
        scores = hidden @ self._second
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        return hidden, exponentials / exponentials.sum(axis=1, keepdims=True)

    def _measure(self, norms: list[float]) -> EpochResult:
        train_loss, train_accuracy = self._judge(*self._train)
        validation_loss, validation_accuracy = self._judge(*self._validation)
        return EpochResult(
            epoch=self.epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            lr=self.config.train.lr,
            gradient_norm=sum(norms) / len(norms),
            seconds=self._epoch_seconds,
        )

    def _judge(self, points: NDArray[np.float64], arms: NDArray[np.int64]) -> tuple[float, float]:
        """Mean loss and accuracy."""
        _, probabilities = self._forward(points)
        of_the_right = probabilities[np.arange(arms.size), arms]
        loss = -np.log(np.maximum(of_the_right, 1e-12)).mean()
        return float(loss), float((probabilities.argmax(axis=1) == arms).mean())
