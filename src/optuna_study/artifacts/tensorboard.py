"""What a trial leaves for TensorBoard: some while it trains, the rest when it ends.

`FOLDER/STUDY/trial-00003-NAME` has the hyperparameters and sample pictures, its `train` and
`validation` the scalars `loss` and `accuracy` by epoch, so that TensorBoard draws the two in one
chart; `train` also has `gradient_norm` and `learning_rate`. While the trial trains, `steps/train`
has `loss`, `gradient_norm` and `learning_rate` by step and the model's graph, `steps/validation`
`loss` and `accuracy` on one batch of validation pictures that stays the same. A trial that is
published twice, since its worker died in between, is written anew.
"""

from __future__ import annotations

import io
import logging
import shutil
import time
import warnings
from contextlib import redirect_stdout, suppress
from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from optuna_study.artifacts import answers
from optuna_study.config.catalogue import augmentation_names
from optuna_study.config.schedule import breakpoints_text
from optuna_study.config.settings import TrainConfig, get_setting
from optuna_study.paths import file_name, writing
from optuna_study.training.augment import augment
from optuna_study.training.device import random_stream
from optuna_study.training.device_data import DeviceData, centre_crop, to_model_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

    from optuna_study.store.records import End, EpochRecord
    from optuna_study.training.run import Run

log = logging.getLogger(__name__)

SAMPLES = 16  # pictures in a sample
SHOWN_CHANNELS = (1, 3)
SCALARS = {
    "train": {
        "loss": "train_loss",
        "accuracy": "train_accuracy",
        "gradient_norm": "gradient_norm",
        "learning_rate": "lr",
    },
    "validation": {"loss": "validation_loss", "accuracy": "validation_accuracy"},
}
"""The tags of each run, each with the figure of an epoch that it shows."""

STEPS = "steps"
"""The folder of what is written while a trial trains."""

EVERY = 100
"""Steps between two points of it, or a few more: figures are read from the device in chunks."""

FIXED_BATCH = 20  # validation pictures


def run_folder(folder: Path, study: str, number: int, baseline: str | None) -> Path:
    """Where a trial's events lie.

    Raises:
        UsageError: the study's or the baseline's name is none of a file; a store may hold any.
    """
    name = f"trial-{number:05d}{f'-{baseline}' if baseline else ''}"
    return folder / file_name(study) / file_name(name)


class StepEvents:
    """Writes a run's figures by step while it trains; a `training.run.StepObserver`.

    What a run resumed from an earlier step has written behind that step is hidden by TensorBoard.

    Raises:
        ImportError: tensorboard is not installed.
        DiskFullError: no space left.
        FolderError: the folder cannot be written.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        done = run.epoch * run.steps_per_epoch
        with writing(folder):
            if done == 0 and folder.exists():
                shutil.rmtree(folder)
            self._train, self._validation = (
                SummaryWriter(str(folder / STEPS / side), purge_step=done + 1) for side in SCALARS
            )
            with random_stream(run.device, 0):
                self._write_graph(run)
        self._written = done
        self._losses: list[float] = []

    def observe(
        self, run: Run, step: int, lr: float, losses: Sequence[float], norms: Sequence[float]
    ) -> None:
        """Write the mean loss since the last point, and what the fixed batch gives now."""
        self._losses += losses
        if step // EVERY == self._written // EVERY:
            return
        self._written, self._losses, mean = step, [], sum(self._losses) / len(self._losses)
        data = run.data
        fixed = run.evaluate(
            data.validation_images[:FIXED_BATCH], data.validation_labels[:FIXED_BATCH]
        )
        points = (
            (self._train, {"loss": mean, "gradient_norm": norms[-1], "learning_rate": lr}),
            (self._validation, {"loss": fixed.loss, "accuracy": fixed.accuracy}),
        )
        try:
            for writer, values in points:
                for tag, value in values.items():
                    writer.add_scalar(tag, value, step)
                writer.flush()
        except OSError as error:  # a full disk costs these figures, never the trial
            log.warning("nothing more written for TensorBoard while it trains: %s", error)
            run.observer = None

    def close(self) -> None:
        """Write what is left."""
        with suppress(OSError):
            self._train.close()
            self._validation.close()

    def _write_graph(self, run: Run) -> None:
        """The model as TensorBoard draws it, of those that torch can trace."""
        picture = to_model_input(run.data.train_images[:1], run.data)
        model = run.whole_model()
        was_training = model.training
        model.eval()
        try:
            # Where gradients are wanted two traces may differ, and none is written.
            with torch.no_grad(), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
                warnings.simplefilter(
                    "ignore"
                )  # tracing is on its way out, and nothing replaces it
                self._train.add_graph(model, picture)
        except Exception as error:  # noqa: BLE001 - a model of one's own may do anything
            log.debug("no graph for TensorBoard: %s", error)
        model.train(was_training)


def write_trial(
    run: Path,
    config: TrainConfig,
    searched: Iterable[str],
    data: DeviceData,
    end: End,
    epochs: Sequence[EpochRecord],
    metric: str,
) -> None:
    """Write a trial's scalars, sample pictures and hyperparameters below the folder `run`.

    `searched` names the settings shown as hyperparameters.

    Raises:
        ImportError: tensorboard is not installed.
        DiskFullError: no space left.
        FolderError: the folder cannot be written.
    """
    from torch.utils.tensorboard import SummaryWriter

    with writing(run):
        for path in run.glob("*"):
            if path.is_dir() and path.name != STEPS:
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()
        for side, figures in SCALARS.items():
            with SummaryWriter(str(run / side)) as writer:
                _scalars(writer, figures, epochs)
        with SummaryWriter(str(run)) as writer:
            _hyperparameters(writer, config, searched, end, metric)
            for tag, pictures in samples(config, data).items():
                writer.add_images(tag, pictures)


def samples(config: TrainConfig, data: DeviceData) -> dict[str, torch.Tensor]:
    """Training pictures as they are and as training sees them: (N, channels, size, size) bytes.

    Of points of a plane, one picture of all of them; of data with other channels than grey or
    colour, none.
    """
    if answers.is_plane(data):
        drawn = torch.tensor(answers.plane_picture(data))
        return {"pictures/data": drawn.permute(2, 0, 1)[None]}
    if data.channels not in SHOWN_CHANNELS:
        return {}
    chosen = data.train_images[:SAMPLES]
    pictures = {"pictures/original": centre_crop(chosen, data.image_size).cpu()}
    names = augmentation_names(config.data.augmentation)
    if names:
        noise = torch.Generator(data.device).manual_seed(config.train.seed)
        shape = (1, -1, 1, 1)
        shown = augment(chosen, names, data, noise) * data.std.view(shape) + data.mean.view(shape)
        pictures["pictures/augmented"] = shown.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    return pictures


def _scalars(
    writer: SummaryWriter, figures: dict[str, str], epochs: Sequence[EpochRecord]
) -> None:
    """Each epoch at the time when it ended, by the epochs' durations."""
    left = [0.0, *accumulate(epoch.seconds for epoch in reversed(epochs[1:]))]
    now = time.time()
    for epoch, ago in zip(epochs, reversed(left), strict=False):
        for tag, figure in figures.items():
            writer.add_scalar(tag, getattr(epoch, figure), epoch.epoch, walltime=now - ago)


def _hyperparameters(
    writer: SummaryWriter, config: TrainConfig, searched: Iterable[str], end: End, metric: str
) -> None:
    from torch.utils.tensorboard.summary import hparams

    values = {name: get_setting(config, name) for name in searched}
    plain = {
        name: value if isinstance(value, bool | int | float | str) else breakpoints_text(value)
        for name, value in values.items()
    }
    reached = {} if end.value is None else {metric: end.value}
    shown = {**plain, "end": end.kind.value}
    for summary in hparams(shown, reached):  # type: ignore[no-untyped-call]
        writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]
    for tag, value in reached.items():
        writer.add_scalar(tag, value)
