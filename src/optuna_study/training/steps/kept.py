"""The captured step that the next run of the same shape takes over; one in a process.

To capture a step takes as long as ten of them. Where runs follow each other, as in a worker, the
last one is kept until a run of another shape is prepared; its memory is held until then.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    import torch

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.backbone.features import Features
    from optuna_study.training.device_data import DeviceData

    Addresses: TypeAlias = tuple[tuple[int, torch.Size], ...]
    Key: TypeAlias = tuple[TrainConfig, Addresses, torch.Size | None]
    Part = TypeVar("Part")

FREE: dict[str, tuple[str, ...]] = {
    "model": ("initialisation", "initialisation_std"),
    "data": ("evaluation",),
    "train": (
        *("epochs", "epoch", "patience", "seed", "shuffle", "ema", "evaluation_batch_size"),
        *("lr", "breakpoints", "schedule", "warmup_epochs", "restart_epochs", "restart_factor"),
        *("plateau_patience", "plateau_factor"),
    ),
}
"""Settings that a captured step knows nothing of; it was made for one value of any other."""


class Captured(Protocol):
    """A captured step; see `captured.CapturedStep`."""

    @property
    def key(self) -> Key:
        """Of the runs that it can serve."""

    def is_free_for(self, run: object) -> bool:
        """Whether it belongs to this run, or the one that it belonged to is gone."""


@dataclasses.dataclass
class _Kept:
    step: Captured | None = None
    enabled: bool = False
    given_up: bool = False


_kept = _Kept()


def keep_steps() -> None:
    """From now on keep the last step of this process: nobody here uses a run that is over."""
    _kept.enabled = True


def close() -> None:
    """From now on keep none."""
    _kept.enabled, _kept.step = False, None


def put(step: Captured) -> None:
    """Keep a step in place of the one before."""
    if _kept.enabled:
        _kept.step = step


def release() -> bool:
    """Keep none any more; whether there was one."""
    step, _kept.step = _kept.step, None
    return step is not None


def release_other(config: TrainConfig, data: DeviceData, *, reads_features: bool) -> None:
    """Keep none that runs of this configuration cannot take over: they need the memory."""
    if _kept.step is None:
        return
    settings, addresses, features = _kept.step.key
    same = (settings, addresses) == key_of(config, data)[:2]
    if not same or (features is not None) is not reads_features:
        release()


def give_up() -> None:
    """Capture no more steps in this process: torch may be left counting a capture as begun."""
    _kept.given_up = True
    release()


def has_given_up() -> bool:
    """Whether a capture has failed in this process."""
    return _kept.given_up


def find(key: Key, run: object) -> Captured | None:
    """The step that is kept, where it serves runs of this key and no other run still has it."""
    step = _kept.step
    return step if step is not None and step.key == key and step.is_free_for(run) else None


def key_of(config: TrainConfig, data: DeviceData, features: Features | None = None) -> Key:
    """What runs share that can replay the same step: settings, and the memory of the pictures.

    Of features the shape, since a step has a copy of them.
    """
    shape = dataclasses.replace(
        config,
        model=_without(config.model, FREE["model"]),
        data=_without(config.data, FREE["data"]),
        train=_without(config.train, FREE["train"]),
    )
    seen = [data.train_images, data.train_labels, data.mean, data.std, data.principal]
    if data.permutation is not None:
        seen.append(data.permutation)
    addresses = tuple((each.data_ptr(), each.shape) for each in seen)
    return shape, addresses, features.training[0].shape if features else None


def _without(settings: Part, names: tuple[str, ...]) -> Part:
    """The settings with those of some names as they are by default."""
    usual = type(settings)()
    changes = {name: getattr(usual, name) for name in names}
    changed: Part = dataclasses.replace(settings, **changes)  # type: ignore[type-var]
    return changed
