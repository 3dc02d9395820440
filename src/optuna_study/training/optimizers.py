"""Optimizers by the names of the catalogue; weight decay falls on weights alone."""

from __future__ import annotations

import inspect
import warnings
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from optuna_study.config.catalogue import OPTIMIZERS, import_reference
from optuna_study.errors import UsageError
from optuna_study.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import torch
    from torch import nn
    from torch.optim import Optimizer

    from optuna_study.config.settings import TrainSettings


LR_FACTOR = "lr_factor"
"""What a group of parameters says of its share of the learning rate, where that is not 1."""


def build_optimizer(
    settings: TrainSettings, model: nn.Module, head: Collection[nn.Parameter] | None = None
) -> Optimizer:
    """The optimizer of the settings, over two groups: decayed weights, and the rest.

    With `head`, other parameters are groups of their own, whose rate is multiplied by the
    settings' factor for the backbone.

    Raises:
        UsageError: an unknown name.
    """
    entry = OPTIMIZERS.get(settings.optimizer)
    if entry is None:
        hint = did_you_mean(settings.optimizer, OPTIMIZERS)
        raise UsageError(f"optimizer '{settings.optimizer}': unknown, {hint}")
    make = _without_compiler(import_reference(entry.reference))
    values = {argument: _value(settings, source) for argument, source in entry.settings.items()}
    optimizer: Optimizer = make(
        _groups(model, settings, head),
        lr=settings.lr,
        **entry.fixed,
        **values,
        # torch's fused momentum reads what was never written when a scaler skips its first step.
        **({} if settings.precision == "fp16" else _implementation(make, model.parameters())),
    )
    return optimizer


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of every group, by its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(LR_FACTOR, 1.0)


CAPTURED = frozenset(
    f"torch.optim:{name}" for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")
)
"""References of the optimizers whose step can be captured: it asks the host for the learning rate
alone. timm's Lamb counts its steps in Python."""


@contextmanager
def rates_on_device(optimizer: Optimizer, rates: Sequence[torch.Tensor]) -> Iterator[None]:
    """Within the block each group's learning rate is one of `rates`, of one number on the device.

    So is whatever else of its step changes from one to the next. Of the forms that torch has for
    an optimizer, a captured step needs the fused one or the one for many tensors at once.
    """
    before = [dict(group) for group in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
        if rate.device.type == "cpu":
            continue  # torch refuses it there
        if not group.get("fused"):
            group["foreach"] = True
        if "capturable" in group:
            group["capturable"] = True
            for parameter in group["params"]:
                state = optimizer.state.get(parameter, {})
                if "step" in state:
                    state["step"] = state["step"].to(rate.device)
    try:
        with warnings.catch_warnings():
            # These steps are the ones before a capture.
            warnings.filterwarnings("ignore", message=".*capturable=True.*")
            yield
    finally:
        for group, values in zip(optimizer.param_groups, before, strict=True):
            group.update({name: values[name] for name in _CHANGED if name in values})


_CHANGED = ("lr", "foreach", "capturable")


def restore(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Load a state but keep the implementation chosen for this device, which may be another."""
    chosen = [{name: group.get(name) for name in _SWITCHES} for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(state))
    for group, switches in zip(optimizer.param_groups, chosen, strict=True):
        group.update(switches)


_SWITCHES = ("fused", "foreach")


@cache
def _without_compiler(cls: Any) -> Callable[..., Optimizer]:
    """The same optimizer, whose methods are not wrapped for torch's compiler.

    The wrappers tell the compiler what not to compile, and import it to do so: 2.4 of the 4.9 CPU
    seconds that torch 2.14 takes to be ready. Hooks on a step run as ever.
    """
    from torch import no_grad
    from torch.optim import Optimizer

    update = inspect.unwrap(cls.step)
    hooked = Optimizer.profile_hook_step(update)

    def step(self: Any, closure: Callable[[], float] | None = None) -> Any:
        with no_grad():
            if self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks:
                return hooked(self, closure)
            return update(self, closure)

    vars(step)["hooked"] = True  # torch's own mark of a step that it is not to wrap
    wrapped = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(cls, name)) for name in wrapped}
    lean: type[Optimizer] = type(cls.__name__, (cls,), {"step": step, **methods})
    return lean


def _groups(
    model: nn.Module, settings: TrainSettings, head: Collection[nn.Parameter] | None
) -> list[dict[str, Any]]:
    """Weights have two dimensions or more; biases, scales of normalisation and slopes one."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if head is None:
        groups = _by_decay(parameters, settings.weight_decay)
    else:
        known = {id(parameter) for parameter in head}
        backbone = [each for each in parameters if id(each) not in known]
        own = [each for each in parameters if id(each) in known]
        factor = settings.backbone_lr_factor
        groups = _by_decay(own, settings.weight_decay) + [
            {**group, "lr": settings.lr * factor, LR_FACTOR: factor}
            for group in _by_decay(backbone, settings.weight_decay)
        ]
    return [group for group in groups if group["params"]]


def _by_decay(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _value(settings: TrainSettings, source: str) -> Any:
    values = [getattr(settings, name) for name in source.split(",")]
    return values[0] if len(values) == 1 else tuple(values)


def _implementation(make: Any, parameters: Iterable[nn.Parameter]) -> dict[str, bool]:
    """Ask for torch's fused form where the optimizer has one for the device.

    One thread, torch 2.14, AlexNet of 58 M weights, ms per step, for-loop / foreach / fused: Adam
    297 / 221 / 31, AdaGrad 161 / 266 / 23, momentum 43 / 40 / 24. The fused forms are elementwise,
    so as bit-stable as the others.
    """
    if "fused" not in inspect.signature(make).parameters:
        return {}
    devices = {parameter.device.type for parameter in parameters}
    supported = {"cpu"} if make.__name__ == "Adagrad" else {"cpu", "cuda"}
    return {"fused": True} if devices <= supported else {}
