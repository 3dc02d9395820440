"""What a launch and its workers send each other; free of torch, the launch stays small.

Everything here travels through a pipe: no store URL ever stands among a process's arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import optuna_study.errors
from optuna_study.errors import OptunaStudyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from optuna_study.store.engine.address import StoreAddress


@dataclass(frozen=True)
class WorkerTask:
    """What one worker process needs to run trials of a study, or of a whole store."""

    address: StoreAddress
    workspace: Path
    device: str
    name: str = ""  # owner of its claims and stem of its log files
    study: str | None = None  # None for every active study of the store
    folder: Path | None = None  # pictures to look at first
    forever: bool = False  # wait for more when none are left
    tensorboard: Path | None = None  # folder of event files, where they are wanted
    allowed: tuple[str, ...] = ()  # modules whose functions studies may name
    left_out: tuple[str, ...] = ()  # studies that are not to be opened
    models_tried: bool = False  # by the launch, on this machine
    shared_cores: int | None = None  # that all workers of its launch have, where on one machine


def numbered(task: WorkerTask, number: int) -> WorkerTask:
    """The same task for a further worker of the same launch."""
    stem, _, _ = task.name.rpartition("-")
    return replace(task, name=f"{stem}-{number:03d}")


class MessageKind(StrEnum):
    """What a message on the pipe between a launch and a worker means."""

    STOP = "stop"  # to the worker: requeue the trial and leave
    LEAVE_OUT = "leave out"  # to it, the name of a study that it is not to open
    OPENING = "opening"  # from it, the name of a study whose pictures and model it now reads
    OPENED = "opened"  # from it, the same: it has outlived that
    SAID = "said"  # from it, a sentence for people about this worker
    NOTE = "note"  # from it, a sentence for people that others may say, too
    DONE = "done"  # from it, with the reason: nothing left to do
    ERROR = "error"  # from it, with an error's class and message: it cannot go on


@dataclass(frozen=True)
class Message:
    """One message on the pipe."""

    kind: MessageKind
    text: str = ""
    error_class: str = ""
    what: str = ""  # of an error: its message without the next step
    step: str = ""


def error_message(error: OptunaStudyError) -> Message:
    """The message that carries an error to the launch."""
    name = type(error).__name__
    return Message(MessageKind.ERROR, str(error), name, error.what, error.step)


def rebuilt(message: Message) -> OptunaStudyError:
    """The error that a message carries, with the class and exit code it had where it arose."""
    kind = getattr(optuna_study.errors, message.error_class, None)
    if not (isinstance(kind, type) and issubclass(kind, OptunaStudyError)):
        kind = OptunaStudyError
    error = kind.__new__(kind)  # some classes are made from other arguments than their message
    error.args = (message.text,)
    error.what, error.step = message.what, message.step
    return error


@dataclass(frozen=True)
class Facts:
    """The machine as torch sees it."""

    device: str  # cpu or cuda:INDEX
    cuda_devices: int
    chosen_freely: bool  # no particular GPU was asked for, so workers may take others too


@dataclass(frozen=True)
class Proven:
    """What the check of a definition found out."""

    fingerprint: str  # of the data
    environment: Mapping[str, Any]
    notes: tuple[str, ...]  # a sentence for each picture skipped or repaired
    image_size: int  # also where the study file leaves it to a timm model


@dataclass(frozen=True)
class Probed:
    """What one copy saw while it trained beside the others."""

    steps: int
    seconds: float
    peak_bytes: int  # its tensors at most, on a CPU the whole process
    free_bytes: int | None  # left on the device while all copies held theirs; None if unknown
