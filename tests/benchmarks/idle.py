"""Trials that take no time, for our workers and for plain Optuna's: what is left is the service.

Each has three parameters, drawn at random, and the same rising curve, so that no pruner that
compares trials gives one up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna

from optuna_study.config.epoch import EpochResult

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from bare_worker import Epochs

    from optuna_study.config.settings import TrainConfig
    from optuna_study.store.records import Claim

NAME = "idle"
STUDY = """
title = "Trials that take no time"
[data]
name = "spiral"
image_size = 1
[model]
name = "mlp"
[train]
epochs = {epochs}
threads = 1
[search]
trials = {trials}
sampler = "random"
[space]
lr = {{low = 1e-3, high = 0.5, log = true}}
momentum = {{low = 0.5, high = 0.95}}
batch_size = {{low = 16, high = 64}}
"""


def value_at(epoch: int) -> float:
    return 1 - 0.9**epoch


@dataclass(frozen=True)
class Idle:
    """A training run that only counts."""

    until: int

    def epochs(self) -> Iterator[EpochResult]:
        for epoch in range(1, self.until + 1):
            value = value_at(epoch)
            yield EpochResult(epoch, 1.0, value, 1.0, value, 0.1, 1.0, 0.0)

    def save(self) -> None:
        """Nothing is worth keeping."""


def begin(config: TrainConfig, claim: Claim, stop: threading.Event) -> tuple[Epochs, int]:
    return Idle(config.train.epochs), 0


def make_plain(url: str) -> None:
    """Make a store and a study as plain Optuna does."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.create_study(study_name=NAME, storage=url, direction="maximize")


def load_plain(url: str, busy_seconds: float | None = None) -> optuna.Study:
    """The study with its own storage, a sampler that costs nothing and Optuna's usual pruner.

    `busy_seconds` are how long it waits for SQLite, when not as long as by default.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: str | optuna.storages.BaseStorage = url
    if busy_seconds is not None:
        options = {"connect_args": {"timeout": busy_seconds}}
        storage = optuna.storages.RDBStorage(url, engine_kwargs=options)
    return optuna.load_study(
        study_name=NAME,
        storage=storage,
        sampler=optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.MedianPruner(),
    )


def plain_trial(study: optuna.Study, epochs: int) -> None:
    """One trial as Optuna's documentation writes it."""
    trial = study.ask()
    trial.suggest_float("lr", 1e-3, 0.5, log=True)
    trial.suggest_float("momentum", 0.5, 0.95)
    trial.suggest_int("batch_size", 16, 64)
    for epoch in range(1, epochs + 1):
        trial.report(value_at(epoch), epoch)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
    study.tell(trial, value_at(epochs))
