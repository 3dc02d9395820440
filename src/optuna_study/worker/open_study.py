"""An open study: its definition, pictures, device and store, ready for trials."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from optuna_study.config.allowed import require_allowed
from optuna_study.definition.allowed import named_modules
from optuna_study.errors import DataError, UsageError
from optuna_study.paths import Workspace
from optuna_study.store.engine import optuna_bridge
from optuna_study.store.engine.retry import Outage, retry_until_done
from optuna_study.training.backbone.timm_models import own_scale
from optuna_study.training.build_model import check_model
from optuna_study.training.device import environment
from optuna_study.training.device_data import DeviceData, load_data
from optuna_study.training.pretrained import WEIGHTS, weights_of
from optuna_study.worker.preflight import find_pictures, pretrained_models
from optuna_study.worker.versions import PACKAGE, pinned_definition, require_same_version, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch
    from optuna.storages import BaseStorage

    from optuna_study.config.settings import TrainConfig
    from optuna_study.definition.model import Definition
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord
    from optuna_study.worker.messages import WorkerTask

T = TypeVar("T")


@dataclass
class Unnoted:
    """Trials that have ended and are to be noted, with their settings; when some last were."""

    trials: dict[int, TrainConfig] = field(default_factory=dict)
    since: float = -math.inf  # on the monotonic clock


@dataclass(frozen=True)
class OpenStudy:
    """A study as a worker holds it from one trial to the next."""

    store: Store
    storage: BaseStorage  # Optuna's, on the same connections
    record: StudyRecord
    definition: Definition
    workspace: Workspace
    data: DeviceData
    device: torch.device
    environment: Mapping[str, Any]
    tensorboard: Path | None = None  # folder of event files, where they are wanted
    allowed: tuple[str, ...] = ()  # modules whose functions may be run
    artifact_outage: Outage = field(
        default_factory=lambda: Outage("the folder of artifacts", reached=True)
    )
    unnoted: Unnoted = field(default_factory=Unnoted)

    def retry_store(self, call: Callable[[], T], wait: Callable[[float], bool]) -> T:
        """Call something that reads or writes the store, also through Optuna, until it is back.

        Raises:
            StoreError: it fails for good, has been away for too long, or `wait` said to give up.
        """

        def once() -> T:
            with optuna_bridge.optuna_failures(self.store):
                return call()

        return retry_until_done(once, wait)


def open_study(
    store: Store, storage: BaseStorage, study: StudyRecord, device: torch.device, task: WorkerTask
) -> OpenStudy:
    """Open a study for trials: its definition as pinned, its pictures on the device.

    Raises:
        NotFoundError: it was deleted.
        OtherVersionError: another version of this package has made the study.
        DataError: its pictures are not here.
        UsageError: its model is not, or it names functions that may not be run.
    """
    require_same_version(study)
    definition = pinned_definition(study)
    require_allowed(study.name, named_modules(definition), task.allowed)
    workspace = Workspace(task.workspace)
    settings = definition.config
    folder = find_pictures(study, definition, task.folder, workspace)
    data = load_data(
        settings.data,
        folder,
        workspace,
        device,
        settings.train.memory_format,
        own_scale(settings),
    )
    if data.fingerprint != study.fingerprint:
        raise DataError(f"{study.name}: its pictures in {folder} have just changed; try again")
    if not task.models_tried:
        check_model(
            settings.model,
            channels=data.channels,
            image_size=data.image_size,
            classes=len(data.classes),
        )
    weights = weights_of(pretrained_models(definition))
    _require_same_weights(study, weights)
    optuna_bridge.read_trials(store, storage, study)
    return OpenStudy(
        store=store,
        storage=storage,
        record=study,
        definition=definition,
        workspace=workspace,
        data=data,
        device=device,
        environment={
            **environment(device, settings.train.threads),
            PACKAGE: versions()[PACKAGE],
            **weights,
        },
        tensorboard=task.tensorboard,
        allowed=task.allowed,
    )


def _require_same_weights(study: StudyRecord, weights: Mapping[str, str]) -> None:
    here = weights.get(WEIGHTS)
    made = study.environment.get(WEIGHTS, here)  # a study of version 0.1 does not say
    if made != here:
        raise UsageError(
            f"{study.name}: the pretrained weights here are others than those it was made with "
            f"({here} instead of {made})",
            "copy those into torch's or Hugging Face's cache here",
        )
