"""Whether a study's wiring is sound: its base model must learn a handful of pictures by heart.

Data, labels, model and loss are the study's own. What keeps a sound model from learning by heart
is left out (dropout, augmentation, weight decay, learning-rate changes), and Adam takes the place
of the optimizer: its rate is to be searched, here it would only blur the answer.
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from optuna_study.definition.read import find_study_file, read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.errors import OptunaStudyError, in_one_line
from optuna_study.training import loop
from optuna_study.training.catalogue import is_reference
from optuna_study.training.config import TrainConfig, with_settings
from optuna_study.training.data import load_data, to_input
from optuna_study.training.device import pick_device
from optuna_study.workers import machine
from optuna_study.workers.launch import choose_data, choose_profile

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.paths import Workspace
    from optuna_study.training.data import DeviceData

PICTURES = 10  # about: as many of each class
RATES = (1e-3, 1e-2, 1e-4)  # for most models, for small ones, for those that the first throws off
STEPS = 1500  # per rate; a narrow model takes them, one that gets nowhere is left after STALLED
STALLED = 200  # steps in which the loss falls by less than a tenth
SECONDS = 150.0  # over all rates; a large model on a slow machine does not get to its steps
NEAR_ZERO = 0.05  # of what guessing costs


@dataclass(frozen=True)
class Attempt:
    """How far one learning rate got; `problems` are sentences on why it got no further."""

    rate: float
    steps: int
    loss: float
    accuracy: float
    chance: float  # what guessing costs
    problems: tuple[str, ...]

    @property
    def learned(self) -> bool:
        """Whether every picture was learned by heart."""
        return self.accuracy == 1 and self.loss < NEAR_ZERO * self.chance


@dataclass(frozen=True)
class Wiring:
    """What the check found; `sentence` says it in one line, `notes` what it was done on."""

    sound: bool
    sentence: str
    notes: tuple[str, ...]


def check_wiring(
    study: str,
    workspace: Workspace,
    *,
    data: Path | None = None,
    profile: str = "auto",
    device: str = "auto",
    steps: int = STEPS,
    seconds: float = SECONDS,
) -> Wiring:
    """Train a study's base model on a handful of its pictures, at most so long.

    `data`, `profile` and `device` are those of a launch.

    Raises:
        NotFoundError: no such study file.
        StudyFileError: the study file has problems.
        DataError: unusable pictures.
        DeviceError: no such device.
    """
    file = read_study_file(find_study_file(study))
    place = pick_device(device)
    folder, stand_in, notes = choose_data(data, file, workspace)
    chosen = choose_profile(profile, str(place))
    definition = resolve(file, chosen, stand_in=stand_in, threads=machine.cores())
    config = _bare(definition.config, steps)
    few = _handful(load_data(config.data, folder, workspace, place, config.train.memory_format))
    before = time.monotonic()
    best: Attempt | None = None
    for rate in RATES:
        left = seconds - (time.monotonic() - before)
        attempt = _attempt(with_settings(config, {"lr": rate}), few, place, left)
        if best is None or attempt.learned or attempt.loss < best.loss:
            best = attempt
        if best.learned or left <= 0:
            break
    assert best is not None
    sentence = f"{definition.name}: {_sentence(best, len(few.train_labels))}"
    return Wiring(best.learned, sentence, notes)


def _bare(config: TrainConfig, steps: int) -> TrainConfig:
    """The base configuration without what keeps it from learning by heart."""
    return with_settings(
        config,
        {
            "augmentation": "none",
            "dropout": 0.0,
            "weight_decay": 0.0,
            "optimizer": "adam",
            "schedule": "breakpoints",
            "breakpoints": (),
            "warmup_epochs": 0.0,
            "batch_size": 65_536,  # all of them at once
            "epochs": steps,
        },
    )


def _handful(data: DeviceData) -> DeviceData:
    """A few training pictures of each class, evaluated on themselves."""
    each = max(1, PICTURES // len(data.classes))
    chosen = torch.cat(
        [
            (data.train_labels == label).nonzero().flatten()[:each]
            for label in range(min(len(data.classes), PICTURES))
        ]
    )
    images, labels = data.train_images[chosen], data.train_labels[chosen]
    return dataclasses.replace(
        data,
        train_images=images,
        train_labels=labels,
        validation_images=images,
        validation_labels=labels,
    )


def _attempt(
    config: TrainConfig, few: DeviceData, device: torch.device, seconds: float
) -> Attempt:
    """Train at one rate until the pictures are learned, or steps or time are used up."""
    deadline = time.monotonic() + seconds
    reached = Attempt(config.train.lr, 0, math.inf, 0.0, math.nan, ())
    losses: list[float] = []
    try:
        run = loop.prepare(config, few, device)
        chance = run.watch.limits.guessing.loss
        for result in loop.epochs(run):  # an epoch is one step
            reached = Attempt(
                config.train.lr,
                result.epoch,
                result.train_loss,
                result.train_accuracy,
                chance,
                () if result.divergence is None else (result.divergence.message.rstrip("."),),
            )
            losses.append(reached.loss)
            stalled = losses[-1] > 0.9 * losses[-STALLED - 1] if len(losses) > STALLED else False
            if reached.learned or stalled or time.monotonic() > deadline:
                break
        if reached.learned:
            return reached
        return dataclasses.replace(reached, problems=(*reached.problems, *_problems(run)))
    except OptunaStudyError:
        raise
    except Exception as error:
        if not is_reference(config.model.name):
            raise
        # A model of one's own may raise anything: that is an answer, too.
        said = f"the model '{config.model.name}' raised {in_one_line(error)}"
        return dataclasses.replace(reached, problems=(said,))


def _problems(run: loop.Run) -> tuple[str, ...]:
    """What can be seen of a model that did not learn."""
    found = []
    if _answers_all_alike(run):
        found.append("the model answers the same whatever the picture: its output ignores it")
    idle = [name for name, each in run.model.named_parameters() if each.grad is None]
    if idle:
        more = f" and {len(idle) - 3} more" if len(idle) > 3 else ""
        found.append(f"no gradient reaches {', '.join(idle[:3])}{more}")
    return tuple(found)


@torch.inference_mode()
def _answers_all_alike(run: loop.Run) -> bool:
    run.model.eval()
    logits = run.model(to_input(run.data.train_images, run.data))
    spread = (logits - logits[:1]).abs().max()
    return bool(spread <= 1e-6 * logits.abs().max())


def _sentence(attempt: Attempt, pictures: int) -> str:
    figures = (
        f"training loss {attempt.loss:.4g} and accuracy {attempt.accuracy:.0%} after "
        f"{attempt.steps} steps of Adam at {attempt.rate:g}, where guessing gives "
        f"{attempt.chance:.4g}"
    )
    if attempt.learned:
        return f"the wiring is sound: {pictures} pictures learned by heart, {figures}"
    why = "; ".join(attempt.problems) or (
        "look at the labels, the loss, the activation and the initialisation"
    )
    return f"{pictures} pictures could not be learned by heart: {figures}; {why}"
