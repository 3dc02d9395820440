"""The checks of a launch that need torch, answered from a forked process."""

from __future__ import annotations

import os
import signal
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from optuna_study.config.catalogue import is_reference
from optuna_study.data.load import open_pictures
from optuna_study.data.split import split
from optuna_study.definition.resolve import baseline_config, pretrained_configs
from optuna_study.errors import OptunaStudyError
from optuna_study.space.dimensions import Choice
from optuna_study.store.schema import CLASS_COUNTS, SIDE_COUNTS
from optuna_study.text import in_one_line
from optuna_study.training.build_model import check_model
from optuna_study.training.custom_objective import check_objective
from optuna_study.training.device import environment, pick_device
from optuna_study.worker.locate_pictures import find_pictures
from optuna_study.worker.messages import Facts, Message, Proven, Word

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from optuna_study.config.settings import ModelSettings
    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace


def respond(answer: Connection[Any, Any], question: str, arguments: dict[str, Any]) -> None:
    """Send back what a question's function gives, or the error it raises."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launch ends this process when it is ended
    answer.send(answer_to(question, arguments))


def answer_to(question: str, arguments: dict[str, Any]) -> Facts | Proven | Path | Message | None:
    """What a question's function gives, or the error it raises."""
    questions: dict[str, Callable[..., Facts | Proven | Path | None]] = {
        "look_around": look_around,
        "prove": prove,
        "find_pictures": find_pictures,
    }
    try:
        return questions[question](**arguments)
    except OptunaStudyError as error:
        return Message(Word.ERROR, str(error), type(error).__name__)
    except Exception as error:  # noqa: BLE001 - a user's own model or data set may raise anything
        text = in_one_line(error)
        if os.environ.get("OPTUNA_STUDY_DEBUG"):
            text += "\n" + traceback.format_exc()
        return Message(Word.ERROR, text, OptunaStudyError.__name__)


def look_around(name: str) -> Facts:
    """The device behind a name, and how many GPUs are here."""
    device = pick_device(name)
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    return Facts(str(device), count, chosen_freely=name in ("auto", "cuda"))


def prove(
    definition: Definition, folder: Path | None, workspace: Workspace, device: str
) -> Proven:
    """Read and split the data; build the baselines' models without memory for their weights.

    Also one for each activation of somebody's own, and for all pretrained weights, that are
    searched.
    """
    config = definition.config
    pictures = open_pictures(config.data, folder, workspace)
    sides = split(pictures, config.data.subset, config.data.picture_limit)
    training = pictures.labels[sides.train]
    class_counts = [int((training == label).sum()) for label in range(len(pictures.classes))]
    configs = [config, *(baseline_config(definition, each) for each in definition.planned)]
    built = [*configs, *pretrained_configs(definition)]
    for model in dict.fromkeys([*(one.model for one in built), *own_activations(definition)]):
        check_model(
            model,
            channels=pictures.images.shape[-1],
            image_size=config.data.image_size,
            classes=len(pictures.classes),
        )
    named = [each.train.objective for each in configs]
    for objective in dict.fromkeys(own_choices(definition, "objective", *named)):
        check_objective(objective)
    return Proven(
        pictures.fingerprint,
        {
            **environment(pick_device(device), config.train.threads),
            CLASS_COUNTS: class_counts,  # chance level, for whoever reads the curves
            SIDE_COUNTS: {  # how far figures of so many pictures can be trusted
                "train": len(sides.train),
                "validation": len(sides.validation),
                "test": len(sides.test),
            },
        },
        pictures.notes,
    )


def own_activations(definition: Definition) -> list[ModelSettings]:
    """The base model with each activation of somebody's own that the space holds."""
    names = own_choices(definition, "activation")
    return [replace(definition.config.model, activation=name) for name in names]


def own_choices(definition: Definition, setting: str, *fixed: str) -> list[str]:
    """The functions of somebody's own that a setting may name, in the space or `fixed`."""
    searched = [
        str(choice)
        for dimension in definition.space.dimensions
        if dimension.setting == setting and isinstance(dimension, Choice)
        for choice in dimension.choices
    ]
    return [name for name in (*fixed, *searched) if is_reference(name)]
