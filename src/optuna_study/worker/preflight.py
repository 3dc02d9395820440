"""What a launch asks a process with torch before it starts workers."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from optuna_study.config.catalogue import is_reference, starts_pretrained
from optuna_study.config.settings import with_settings
from optuna_study.data.availability import is_here, way_to_get
from optuna_study.data.load import open_pictures
from optuna_study.data.split import split
from optuna_study.definition.resolve import baseline_config, searched_crops, searched_models
from optuna_study.errors import DataError, OptunaStudyError
from optuna_study.space.dimensions import Choice
from optuna_study.store.schema import CLASS_COUNTS, NEIGHBOURS, SIDE_COUNTS
from optuna_study.text import in_one_line
from optuna_study.training import loop
from optuna_study.training.backbone.features import (
    fits_head,
    fitting,
    nearest_neighbours,
    open_features,
    reads_features,
)
from optuna_study.training.backbone.timm_models import (
    check_training_size,
    own_scale,
    with_own_size,
)
from optuna_study.training.backbone.trained_layers import FOLDED, freezes_norms
from optuna_study.training.build_model import check_models
from optuna_study.training.custom_objective import check_objective
from optuna_study.training.device import (
    cuda_graphs,
    environment,
    free_memory,
    peak_memory,
    pick_device,
    read_numbers,
)
from optuna_study.training.device_data import load_data, view
from optuna_study.training.pretrained import weights_of
from optuna_study.training.steps import kept
from optuna_study.worker.messages import (
    Facts,
    Message,
    MessageKind,
    Probed,
    Proven,
    error_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from rich.progress import TaskID

    from optuna_study.config.settings import ModelSettings, TrainConfig
    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.store.records import StudyRecord
    from optuna_study.training.device_data import DeviceData
    from optuna_study.training.run import Run

SHOWN = 12  # characters of a fingerprint: enough to distinguish two
WARM_UP = 0.5  # seconds: libraries load their kernels at first use
WINDOW = 2.0  # seconds that are counted


def answer(question: str, arguments: dict[str, Any]) -> Facts | Proven | Path | Message | None:
    """What a question's function gives, or the error it raises as a message."""
    questions: dict[str, Callable[..., Facts | Proven | Path | None]] = {
        "look_around": look_around,
        "prove": prove,
        "find_pictures": find_pictures,
    }
    try:
        return questions[question](**arguments)
    except OptunaStudyError as error:
        return error_message(error)
    except Exception as error:  # noqa: BLE001 - a user's own model or data set may raise anything
        text = in_one_line(error)
        if os.environ.get("OPTUNA_STUDY_DEBUG"):
            text += "\n" + traceback.format_exc()
        return Message(MessageKind.ERROR, text, OptunaStudyError.__name__)


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
    config = with_own_size(definition.config)
    definition = replace(definition, config=config)
    pictures = open_pictures(config.data, folder, workspace)
    sides = split(pictures, config.data.subset, config.data.picture_limit)
    training = pictures.labels[sides.train]
    class_counts = [int((training == label).sum()) for label in range(len(pictures.classes))]
    configs = [config, *(baseline_config(definition, each) for each in definition.planned)]
    built = models_of(definition)
    check_models(
        dict.fromkeys([*built, *own_activations(definition)]),
        channels=pictures.images.shape[-1],
        image_size=config.data.image_size,
        classes=len(pictures.classes),
    )
    named = [each.train.objective for each in configs]
    for objective in dict.fromkeys(own_choices(definition, "objective", *named)):
        check_objective(objective)
    if definition.second_stage is not None:
        configs.append(definition.second_stage)
    for each in (*configs, *searched_crops(definition)):
        check_training_size(each)
    nearest = compute_features(configs, folder, workspace, pick_device(device))
    return Proven(
        pictures.fingerprint,
        {
            **environment(pick_device(device), config.train.threads),
            **weights_of(pretrained_models(definition)),
            **(FOLDED if any(map(freezes_norms, models_of(definition))) else {}),
            **({} if nearest is None else {NEIGHBOURS: nearest}),
            CLASS_COUNTS: class_counts,  # chance level, for whoever reads the curves
            SIDE_COUNTS: {  # how far figures of so many pictures can be trusted
                "train": len(sides.train),
                "validation": len(sides.validation),
                "test": len(sides.test),
            },
        },
        pictures.notes,
        config.data.image_size,
    )


def compute_features(
    configs: Iterable[TrainConfig], folder: Path | None, workspace: Workspace, device: torch.device
) -> float | None:
    """Have the features that heads read in the workspace's cache before any trial needs them.

    Those that heads are fitted to, too.

    The accuracy of nearest neighbours by the first ones that there are.

    Raises:
        UsageError: a model that has no head of its own.
        FolderError: the workspace cannot be written.
        DiskFullError: no space left in it.
    """
    configs = list(configs)
    wanted = [
        *(config for config in configs if reads_features(config)),
        *(fitting(config) for config in configs if fits_head(config)),
    ]
    if not wanted:
        return None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    nearest: float | None = None
    console = Console(stderr=True)
    columns = "features of pictures", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        for config in wanted:
            data = load_data(config.data, folder, workspace, device, config.train.memory_format)
            task = bar.add_task("")

            def told(done: int, whole: int, task: TaskID = task) -> None:
                bar.update(task, total=whole, completed=done)

            data = view(data, config.data, own_scale(config))
            features = open_features(config, data, told)
            bar.remove_task(task)
            if nearest is None:
                nearest = nearest_neighbours(features, data)
    return nearest


def models_of(definition: Definition) -> list[ModelSettings]:
    """The base model, the planned baselines', and all that are searched, by name or by weights.

    Where there is a second stage, as it has them, too.
    """
    stage, searched = definition.search.finetune, searched_models(definition)
    later = [definition.config, *searched] if stage.trials else []
    configs = [
        definition.config,
        *(with_settings(each, stage.settings) for each in later),
        *(baseline_config(definition, each) for each in definition.planned),
        *searched,
    ]
    return list(dict.fromkeys(config.model for config in configs))


def pretrained_models(definition: Definition) -> list[ModelSettings]:
    """Those of a definition's models that start from weights which are read."""
    return [
        each for each in models_of(definition) if starts_pretrained(each.name, each.pretrained)
    ]


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


def find_pictures(
    study: StudyRecord, definition: Definition, given: Path | None, workspace: Workspace
) -> Path | None:
    """The folder that holds a study's pictures here; None for the data set of its definition.

    Looked at, in this order: the folder given, the study's own, the data set by its name.

    Raises:
        DataError: none of them is here, or holds these pictures.
    """
    data = definition.config.data
    looked_at = []
    for folder in _places(study, definition, given, workspace):
        where = str(folder or data.name)
        try:
            found = open_pictures(data, folder, workspace).fingerprint
        except DataError as error:
            looked_at.append(error.what)
            continue
        if found == study.fingerprint:
            return folder
        looked_at.append(f"{where} holds others (fingerprint {found[:SHOWN]})")
    said = "; ".join(looked_at) or f"neither {study.data_source} nor '{data.name}' is here"
    way = way_to_get(data.name, workspace)
    raise DataError(
        f"{study.name}: the pictures it was made with (fingerprint {study.fingerprint[:SHOWN]}) "
        f"are not here: {said}; give their folder with --data{f', or {way}' if way else ''}"
    )


def _places(
    study: StudyRecord, definition: Definition, given: Path | None, workspace: Workspace
) -> Iterator[Path | None]:
    own = [Path(study.data_source)] if Path(study.data_source).is_absolute() else []
    if definition.folder is not None:
        own.append(Path(definition.folder).absolute())
    if given is not None:
        yield given.absolute()
    for folder in dict.fromkeys(own):
        if folder.exists() and folder != given:
            yield folder
    if is_here(definition.config.data.name, workspace):
        yield None


def probe(
    control: Connection[Probed | Message, None],
    definition: Definition,
    folder: Path | None,
    workspace: Workspace,
    device_name: str,
) -> None:
    """Get warm, say so, and train when asked; keep the memory until the launch has read of it."""
    try:
        device, config = pick_device(device_name), definition.config
        if cuda_graphs(device) is not None:
            kept.keep_steps()  # as the workers that are to come
        data = load_data(
            config.data, folder, workspace, device, config.train.memory_format, own_scale(config)
        )
        train_for(WARM_UP, config, data, device)
        control.send(Probed(0, WARM_UP, peak_memory(device), free_memory(device)))
        control.recv()
        steps, seconds = train_for(WINDOW, config, data, device)
        control.send(Probed(steps, seconds, peak_memory(device), free_memory(device)))
        control.recv()
    except EOFError:
        pass  # read
    except Exception as error:  # noqa: BLE001 - out of memory, or whatever a model of one's own raises
        text = f"{type(error).__name__}: {error}"
        control.send(Message(MessageKind.ERROR, text, OptunaStudyError.__name__))


@dataclass(frozen=True)
class _Counter:
    """Tells how many steps have been read."""

    count: Callable[[int], None]

    def observe(
        self, _run: Run, _step: int, _lr: float, losses: Sequence[float], _norms: Sequence[float]
    ) -> None:
        """Some steps were read."""
        self.count(len(losses))


def train_for(
    seconds: float, config: TrainConfig, data: DeviceData, device: torch.device
) -> tuple[int, float]:
    """Train, from the start again where a run ends before; the steps done and the time taken."""
    began = time.perf_counter()
    steps = 0
    while time.perf_counter() - began < seconds:
        run = loop.prepare(config, data, device)

        def count(new: int, stop: Any = run.stop) -> None:
            nonlocal steps
            steps += new
            if time.perf_counter() - began >= seconds:
                stop.set()

        if cuda_graphs(device) is None or is_reference(config.train.objective):
            run.optimizer.register_step_post_hook(lambda *_, count=count: count(1))
        else:  # where steps are replayed a hook is not called, and a read is every 32 steps
            run.observer = _Counter(count)
        for _ in loop.epochs(run):
            pass
    read_numbers(torch.zeros(1, device=device))  # the steps are queued: wait for the last
    return steps, time.perf_counter() - began
