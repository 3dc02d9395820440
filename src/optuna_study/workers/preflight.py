"""The checks of a launch that need torch, answered from a forked process."""

from __future__ import annotations

import os
import signal
import traceback
from typing import TYPE_CHECKING, Any

import torch

from optuna_study.definition.resolve import baseline_config
from optuna_study.errors import OptunaStudyError, UsageError
from optuna_study.report.curves import CLASS_COUNTS
from optuna_study.training.build import check_model
from optuna_study.training.device import environment, pick_device
from optuna_study.training.sources import open_pictures
from optuna_study.training.split import split
from optuna_study.workers.checks import Facts, Proven
from optuna_study.workers.orders import Message, Word
from optuna_study.workers.pictures import find_pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace


def respond(answer: Connection[Any, Any], question: str, arguments: dict[str, Any]) -> None:
    """Send back what a question's function gives, or the error it raises."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launch ends this process when it is ended
    questions: dict[str, Callable[..., Facts | Proven | Path | None]] = {
        "look_around": look_around,
        "prove": prove,
        "find_pictures": find_pictures,
    }
    try:
        answer.send(questions[question](**arguments))
    except OptunaStudyError as error:
        answer.send(Message(Word.ERROR, str(error), type(error).__name__))
    except Exception as error:  # noqa: BLE001 - a user's own model or data set may raise anything
        text = f"{type(error).__name__}: {error}"
        if os.environ.get("OPTUNA_STUDY_DEBUG"):
            text += "\n" + traceback.format_exc()
        answer.send(Message(Word.ERROR, text, OptunaStudyError.__name__))


def look_around(name: str) -> Facts:
    """The device behind a name, and how many GPUs are here."""
    device = pick_device(name)
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    return Facts(str(device), count, chosen_freely=name in ("auto", "cuda"))


def prove(
    definition: Definition, folder: Path | None, workspace: Workspace, device: str
) -> Proven:
    """Read and split the data; build every baseline's model without memory for its weights."""
    config = definition.config
    pictures = open_pictures(config.data, folder, workspace)
    training = pictures.labels[
        split(pictures, config.data.subset, config.data.picture_limit).train
    ]
    class_counts = [int((training == label).sum()) for label in range(len(pictures.classes))]
    configs = [config, *(baseline_config(definition, each) for each in definition.baselines)]
    for model in dict.fromkeys(one.model for one in configs):
        try:
            check_model(
                model,
                channels=pictures.images.shape[-1],
                image_size=config.data.image_size,
                classes=len(pictures.classes),
            )
        except OptunaStudyError:
            raise
        except Exception as error:  # a model of one's own may raise anything
            raise UsageError(
                f"model '{model.name}' cannot be built: {type(error).__name__}: {error}"
            ) from error
    return Proven(
        pictures.fingerprint,
        {
            **environment(pick_device(device), config.train.threads),
            CLASS_COUNTS: class_counts,  # chance level, for whoever reads the curves
        },
        pictures.notes,
    )
