"""What a trial leaves for TensorBoard, written when it ends, beside its artifacts.

`FOLDER/STUDY/trial-00003-NAME` has the hyperparameters and sample pictures, its `train` and
`validation` the scalars `loss` and `accuracy`, so that TensorBoard draws the two in one chart;
`train` also has `gradient_norm` and `learning_rate`. A trial that is published twice, since its
worker died in between, is written anew.
"""

from __future__ import annotations

import io
import shutil
import time
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from optuna_study.artifacts import decision_boundary
from optuna_study.config.catalogue import augmentation_names
from optuna_study.config.schedule import breakpoints_text
from optuna_study.config.settings import get_setting
from optuna_study.paths import file_name, writing
from optuna_study.training.augment import augment
from optuna_study.training.device_data import centre_crop

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

    from optuna_study.config.settings import TrainConfig
    from optuna_study.store.records import End, EpochRecord
    from optuna_study.training.device_data import DeviceData

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


def run_folder(folder: Path, study: str, number: int, baseline: str | None) -> Path:
    """Where a trial's events lie.

    Raises:
        UsageError: the study's or the baseline's name is none of a file; a store may hold any.
    """
    name = f"trial-{number:05d}{f'-{baseline}' if baseline else ''}"
    return folder / file_name(study) / file_name(name)


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
        if run.exists():
            shutil.rmtree(run)
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
    if decision_boundary.is_plane(data):
        drawn = Image.open(io.BytesIO(decision_boundary.data_picture("data", data))).convert("RGB")
        return {"pictures/data": torch.tensor(np.array(drawn)).permute(2, 0, 1)[None]}
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
