"""The checkpoint of a trial under way: where a requeued trial resumes, and whether bit for bit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from optuna_study.config.reproducibility import differing
from optuna_study.config.training_errors import is_out_of_memory
from optuna_study.errors import DataError, NotFoundError
from optuna_study.text import in_one_line
from optuna_study.training import checkpoint, evaluation, loop
from optuna_study.training.backbone.folded import with_norms
from optuna_study.training.recipe import best_epoch

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from optuna_study.config.epoch import EpochResult
    from optuna_study.config.settings import TrainConfig
    from optuna_study.store.records import Claim, EpochRecord
    from optuna_study.training.device_data import DeviceData
    from optuna_study.training.run import RunState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """Where a trial resumes: after so many epochs, from this state.

    `elsewhere` says what differs from where the checkpoint was made, a sentence each.
    """

    epoch: int
    state: RunState
    before: tuple[EpochRecord, ...]  # the curve up to here
    elsewhere: tuple[str, ...]


def find_point(
    path: Path, claim: Claim, reported: Sequence[EpochRecord], environment: Mapping[str, Any]
) -> Point | None:
    """The checkpoint of a requeued trial, or None when it has to begin anew.

    A checkpoint whose epochs were not all reported stands for nothing: the reports come first.
    """
    if not claim.resumed:
        return None
    try:
        stored = checkpoint.load(path)
        epoch, environment_then, state = _parts(path, stored)
    except NotFoundError:
        return None
    except (DataError, OSError, MemoryError) as error:
        log.warning("begins anew: %s", error)
        return None
    before = tuple(record for record in reported if record.epoch <= epoch)
    numbers = [record.epoch for record in before]
    if len(before) != epoch or numbers != list(range(1, len(before) + 1)):
        log.warning("begins anew: %s stands for epochs that were never reported", path)
        return None
    elsewhere = differing(environment_then, environment)
    return Point(epoch, state, before, elsewhere)


def _parts(path: Path, stored: Mapping[str, Any]) -> tuple[int, dict[str, Any], RunState]:
    """The epoch, the environment and the run's state of a checkpoint.

    Raises:
        DataError: it is none of a trial.
    """
    epoch, then, state = (stored.get(name) for name in ("epoch", "environment", "run"))
    if not (type(epoch) is int and isinstance(then, dict) and isinstance(state, dict)):
        raise DataError(f"{path}: not the checkpoint of a trial")
    if epoch < 1 or state.get("epoch") != epoch or state.get("ended") is not False:
        raise DataError(f"{path}: no trial is resumed after epoch {epoch} of this state")
    return epoch, then, cast("RunState", state)


class CheckpointedRun:
    """A training run that writes checkpoints, and resumes from one where `point` is given."""

    def __init__(
        self,
        config: TrainConfig,
        data: DeviceData,
        device: torch.device,
        path: Path,
        environment: Mapping[str, Any],
        stop: threading.Event,
        point: Point | None = None,
        metric: str = best_epoch.METRIC,
    ) -> None:
        state = point.state if point else None
        self.run = loop.prepare(config, data, device, state=state, metric=metric)
        self.run.stop = stop
        self.before = point.before if point else ()
        self.planned_epochs = config.train.epochs
        self._path = path
        self._environment = dict(environment)

    @classmethod
    def resumed(
        cls,
        config: TrainConfig,
        data: DeviceData,
        device: torch.device,
        path: Path,
        environment: Mapping[str, Any],
        stop: threading.Event,
        point: Point | None,
        metric: str = best_epoch.METRIC,
    ) -> CheckpointedRun:
        """The run from a point, or from the start where the state there does not fit it."""
        run = partial(cls, config, data, device, path, environment, stop, metric=metric)
        try:
            return run(point=point)
        except Exception as error:  # what torch raises of a state that it cannot load is not said
            if point is None or is_out_of_memory(error):
                raise
            log.warning("begins anew: %s: %s", path, in_one_line(error))
        return run()

    @property
    def finished(self) -> bool:
        """Whether it has trained as long as it should."""
        return self.run.finished

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights it ends with if it ends now, counted from 1."""
        return self.run.kept_epoch

    def measure(self, cost: str) -> float:
        """What the whole model costs as it is saved, one of `config.epoch.COSTS`."""
        run = self.run
        return evaluation.MEASURES[cost](with_norms(run.whole_model()), run.config, run.data)

    def epochs(self) -> Iterator[EpochResult]:
        """One result an epoch, until done, diverged or stopped."""
        return loop.epochs(self.run)

    def confusion(self) -> NDArray[np.int64]:
        """Validation pictures by class (rows) and answer (columns)."""
        matrix: NDArray[np.int64] = self.run.validate().confusion.numpy()
        return matrix

    def predict_proba(self, images: torch.Tensor) -> NDArray[np.float32]:
        """The model's probabilities (N, classes) for uint8 pictures on its device."""
        return self._asked(evaluation.predict_proba, images)

    def validation_proba(self, most: int) -> NDArray[np.float32]:
        """The model's probabilities (N, classes) for the first validation pictures.

        A head's from the features that it was evaluated on: the whole network takes 10 s for the
        697 pictures of 160 pixels that a trial of 1 s would be followed by, on two cores.
        """
        run = self.run
        seen = run.seen_in_validation[:most]
        return evaluation.predict_proba(run.model, run.config, run.data, seen).numpy(force=True)

    def outputs(self, images: torch.Tensor) -> NDArray[np.float32]:
        """What the loss compares with the targets, (N, classes), for uint8 pictures."""
        return self._asked(evaluation.outputs, images)

    def _asked(
        self, function: Callable[..., torch.Tensor], images: torch.Tensor
    ) -> NDArray[np.float32]:
        run = self.run
        found: NDArray[np.float32] = function(
            run.whole_model(), run.config, run.data, images
        ).numpy(force=True)
        return found

    def save(self) -> None:
        """Write the checkpoint of the last epoch.

        Raises:
            DiskFullError: no space left.
            FolderError: the folder cannot be written.
        """
        state = {
            "epoch": self.run.epoch,
            "environment": self._environment | self.run.way_of_steps,
            "run": self.run.state_dict(),
        }
        checkpoint.save(self._path, state)
