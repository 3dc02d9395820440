"""Whether a study's wiring is sound: its base model must learn a handful of pictures by heart.

Data, labels, model and loss are the study's own. What keeps a sound model from learning by heart
is left out (dropout, augmentation, weight decay, learning-rate changes), and Adam takes the place
of the optimizer: its rate is to be searched, here it would only blur the answer. Of an own
objective nobody knows how low its loss can get: there accuracy alone tells, and no rate is left
early.
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from optuna_study.config.catalogue import is_reference
from optuna_study.config.settings import TrainConfig, with_settings
from optuna_study.definition.read import find_study_file, read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.errors import OptunaStudyError
from optuna_study.launch.options import choose_data, choose_profile
from optuna_study.text import in_one_line, percent
from optuna_study.training import loop
from optuna_study.training.backbone.timm_models import own_scale, with_own_size
from optuna_study.training.device import pick_device
from optuna_study.training.device_data import DeviceData, load_data, to_model_input
from optuna_study.worker import machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from optuna_study.paths import Workspace
    from optuna_study.training.run import Run

PICTURES = 10  # about: as many of each class
RATES = (1e-3, 1e-2, 1e-4)  # for most models, for small ones, for those that the first throws off
STEPS = 1500  # per rate; a narrow model takes them, one that gets nowhere is left after STALLED
STALLED = 200  # steps in which the loss falls by less than a tenth
SECONDS = 150.0  # over all rates; a large model on a slow machine does not get to its steps
NEAR_ZERO = 0.05  # of what guessing costs


@dataclass(frozen=True)
class Attempt:
    """How far one learning rate got; `problems` are sentences on what is wrong."""

    rate: float
    steps: int = 0
    loss: float = math.inf
    accuracy: float = 0.0
    chance: float | None = None  # what guessing costs; None of an own objective
    problems: tuple[str, ...] = ()

    @property
    def learned(self) -> bool:
        """Whether every picture was learned by heart."""
        near = self.chance is None or self.loss < NEAR_ZERO * self.chance
        return self.accuracy == 1 and near

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with that."""
        return self.learned and not self.problems


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
    config = _bare(with_own_size(definition.config), steps)
    scale = own_scale(config)
    few = _handful(
        load_data(config.data, folder, workspace, place, config.train.memory_format, scale)
    )
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
    sentence = f"{definition.name}: {_sentence(best, config, len(few.train_labels))}"
    return Wiring(best.sound, sentence, notes)


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
        workspace=None,  # a few pictures are none of what is kept there
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
    reached = Attempt(config.train.lr)
    losses: list[float] = []
    try:
        run = loop.prepare(config, few, device)
        before = {name: each.detach().clone() for name, each in run.model.named_parameters()}
        own = is_reference(config.train.objective)
        chance = None if own else run.watch.limits.guessing.loss
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
            # Shares of a loss mean something only where its zero is known.
            stalled = chance is not None and _stalled(losses)
            if reached.learned or stalled or time.monotonic() > deadline:
                break
        return dataclasses.replace(reached, problems=(*reached.problems, *_problems(run, before)))
    except OptunaStudyError:
        raise
    except Exception as error:
        if not is_reference(config.model.name):
            raise
        # A model of one's own may raise anything: that is an answer, too.
        said = f"the model '{config.model.name}' raised {in_one_line(error)}"
        return dataclasses.replace(reached, problems=(said,))


def _stalled(losses: Sequence[float]) -> bool:
    return len(losses) > STALLED and losses[-1] > 0.9 * losses[-STALLED - 1]


def _problems(run: Run, before: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """What can be seen of a model that is wired wrongly, whether or not it learned.

    Adam moves every weight that any gradient reaches; `before` holds what they were.
    """
    found = []
    if _answers_all_alike(run):
        found.append(
            "in evaluation the model answers the same whatever the picture: its output ignores it"
        )
    idle = [
        name
        for name, each in run.model.named_parameters()
        if each.requires_grad and torch.equal(each, before[name])
    ]
    if idle:
        more = f" and {len(idle) - 3} more" if len(idle) > 3 else ""
        found.append(
            f"no gradient reaches {', '.join(idle[:3])}{more} (freeze with requires_grad_(False) "
            "what is not to learn)"
        )
    return tuple(found)


@torch.inference_mode()
def _answers_all_alike(run: Run) -> bool:
    run.model.eval()
    if run.features is not None:
        logits = run.model(run.features.training[0])
    else:
        logits = run.model(to_model_input(run.data.train_images, run.data))
    spread = (logits - logits[:1]).abs().max()
    return bool(spread <= 1e-6 * logits.abs().max())


def _sentence(attempt: Attempt, config: TrainConfig, pictures: int) -> str:
    if attempt.sound:
        reached = _figures(attempt, config)
        return f"the wiring is sound: {pictures} pictures learned by heart, {reached}"
    why = "; ".join(attempt.problems) or (
        "look at the labels, the loss, the activation and the initialisation"
    )
    if not attempt.steps:
        return f"{pictures} pictures could not be learned by heart: no step was made; {why}"
    reached = _figures(attempt, config)
    if attempt.learned:
        return f"{pictures} pictures were learned by heart ({reached}), yet {why}"
    return f"{pictures} pictures could not be learned by heart: {reached}; {why}"


def _figures(attempt: Attempt, config: TrainConfig) -> str:
    accuracy, by = f"accuracy {percent(attempt.accuracy, 0)}", f"of Adam at {attempt.rate:g}"
    if attempt.chance is None:
        return (
            f"{accuracy} after {attempt.steps} epochs {by}; by accuracy alone, since how low the "
            f"loss of {config.train.objective} can get is not known"
        )
    return (
        f"training loss {attempt.loss:.4g} and {accuracy} after {attempt.steps} steps {by}, where "
        f"guessing gives {attempt.chance:.4g}"
    )
