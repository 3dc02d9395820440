"""A captured step reads no number, stays where it is and does the same whatever the rate."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
from called_graphs import CalledGraphs
from operations import Operations
from recorded_curves import ALL

from optuna_study.config.catalogue import OPTIMIZERS
from optuna_study.training import device as devices
from optuna_study.training import loop
from optuna_study.training.optimizers import CAPTURED, build_optimizer, rates_on_device
from optuna_study.training.steps import stepper
from optuna_study.training.steps.captured import CapturedStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

    Config = Callable[..., TrainConfig]

CPU = torch.device("cpu")


def operations(step: CapturedStep, pictures: torch.Tensor, rate: float) -> list[str]:
    """Those of what a graph holds, for some pictures at a rate."""
    for each in step.rates:
        each.fill_(rate)
    step.begin(1, step.parts.config.train)
    step._take(pictures)
    with rates_on_device(step.parts.optimizer, step.rates), Operations() as seen:
        step._call()
    names: list[str] = seen.names
    return names


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "loss": "mse", "augmentation": ALL, "normalisation": "batch"},
        {"optimizer": "momentum", "loss": "mse", "mse_of": "activation", "activation": "tanh"},
        {"optimizer": "adam", "loss": "bce", "augmentation": "resized_crop+flip"},
        {"optimizer": "adamw", "class_weights": "balanced", "gradient_clip": 1.0, "mixup": 0.2},
        {"optimizer": "adagrad", "label_smoothing": 0.1, "normalisation": "lrn", "cutmix": 1.0},
        {"optimizer": "nesterov", "precision": "bf16", "pixels": "permuted"},
    ],
    ids=lambda changes: str(changes["optimizer"]),
)
def test_it_reads_nothing_stays_in_place_and_does_the_same_at_every_rate(
    tiny_data: DeviceData, config: Config, changes: dict[str, Any]
) -> None:
    run = loop.prepare(config(epochs=20, **changes), tiny_data, CPU)
    assert stepper.why_eager(run) is None
    step = CapturedStep(run, CalledGraphs())
    addresses = [each.data_ptr() for each in tensors(step)]
    first = operations(step, torch.arange(10), 0.01)
    assert len(first) > 20
    assert operations(step, torch.arange(10), 0.003) == first
    assert operations(step, torch.arange(40, 50), 0.01) == first
    for _ in range(8):
        step.take(torch.arange(20, 30))
    assert [each.data_ptr() for each in tensors(step)] == addresses
    assert step.place.flatten().tolist() == [9] * 3
    assert step.seen[:2, :9].count_nonzero() == 18


def tensors(step: CapturedStep) -> list[torch.Tensor]:
    """All that a replay reads or writes, but for what lives within it."""
    optimizer = step.parts.optimizer
    state = [
        value
        for values in optimizer.state.values()
        for value in values.values()
        if isinstance(value, torch.Tensor)
    ]
    return [
        *step.parts.model.parameters(),
        *step.parts.model.buffers(),
        *state,
        *step.rates,
        step.pictures,
        step.seen,
        step.place,
    ]


def test_making_one_leaves_the_run_as_it_was(tiny_data: DeviceData, config: Config) -> None:
    run = loop.prepare(config(normalisation="batch", optimizer="adam"), tiny_data, CPU)
    run.model.eval()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    torch.manual_seed(5)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    CapturedStep(run, CalledGraphs())
    assert torch.equal(torch.rand(3), drawn)
    assert not run.model.training
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    state = run.optimizer.state_dict()
    assert {type(group["lr"]) for group in state["param_groups"]} == {float}
    assert not any(value.any() for each in state["state"].values() for value in each.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_an_optimizer_on_a_gpu_asks_it_for_no_number(config: Config, name: str) -> None:
    """Tensors there in name alone, on a device that is none: a read of one is an error."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    if OPTIMIZERS[name].reference not in CAPTURED:
        pytest.skip("its steps are never captured")
    settings = config(optimizer=name, weight_decay=0.01, momentum=0.5).train
    with FakeTensorMode():
        model = torch.nn.Linear(3, 2, device="cuda")
        optimizer = build_optimizer(settings, model)
        rates = [torch.zeros((), device="cuda") for _ in optimizer.param_groups]
        with rates_on_device(optimizer, rates), FusedKernels() as seen:
            for _ in range(2):
                for parameter in model.parameters():
                    parameter.grad = torch.ones_like(parameter)
                seen.names.clear()
                optimizer.step()
    assert any("foreach" in each or "_fused_" in each for each in seen.names), seen.names
    for values in optimizer.state.values():
        devices_of = {k: v.device.type for k, v in values.items() if isinstance(v, torch.Tensor)}
        assert set(devices_of.values()) <= {"cuda"} or name == "adagrad"
    assert [group["lr"] for group in optimizer.param_groups] == [settings.lr] * len(rates)


class FusedKernels(Operations):  # type: ignore[no-untyped-call]
    """Leaves out torch's fused updates, which only a device itself can do."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if "_fused_" in str(func):
            self.names.append(str(func))
            return None
        if "_local_scalar_dense" in str(func) and args[0].device.type == "cpu":
            return 1.0  # AdaGrad's count of steps, which the host has
        return super().__torch_dispatch__(func, types, args, kwargs)


def on_gpu(data: DeviceData) -> DeviceData:
    device = torch.device("cuda", 0)
    moved: dict[str, Any] = {
        entry.name: value.to(device)
        for entry in dataclasses.fields(data)
        if isinstance(value := getattr(data, entry.name), torch.Tensor)
    }
    return dataclasses.replace(data, **moved)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "momentum", "augmentation": ALL, "normalisation": "batch"},
        {"optimizer": "adam", "lr": 2**-9, "loss": "mse", "augmentation": "resized_crop+flip"},
        {"optimizer": "adamw", "lr": 2**-9, "loss": "bce", "gradient_clip": 1.0, "ema": 0.9},
        {"optimizer": "rmsprop", "lr": 2**-10, "schedule": "cosine", "mixup": 0.2, "cutmix": 1.0},
        {"optimizer": "adagrad", "label_smoothing": 0.1, "normalisation": "lrn"},
        {"optimizer": "sgd", "precision": "bf16", "memory_format": "channels_last"},
    ],
    ids=lambda changes: str(changes["optimizer"]),
)
def test_curves_of_graphs_and_of_calls_agree_on_a_gpu(
    tiny_data: DeviceData,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    settings, curves = config(**{"lr": 2**-6, "epochs": 12, **changes}), []
    for wanted, way in (("0", {}), ("1", {"steps": "CUDA graph"})):
        monkeypatch.setenv(devices.GRAPHS_VARIABLE, wanted)
        run = loop.prepare(settings, on_gpu(tiny_data), torch.device("cuda", 0))
        curves.append([each.train_loss for each in loop.epochs(run)])
        assert run.way_of_steps == way
    called, replayed = curves
    # The same kernels in the same order; those that add in no fixed order drift apart.
    assert replayed[:3] == pytest.approx(called[:3], rel=1e-3)
    assert replayed == pytest.approx(called, rel=0.1, abs=0.02)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_capture_that_fails_on_a_gpu_leaves_it_usable(
    tiny_data: DeviceData, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(devices.GRAPHS_VARIABLE, "1")
    settings = config(epochs=12, dropout=0.5, augmentation="flip")
    graphs = devices.cuda_graphs(torch.device("cuda", 0))
    assert graphs is not None
    noise = torch.Generator("cuda")
    with pytest.raises(RuntimeError):
        graphs.capture(lambda: torch.ones(3, device="cuda").sum().item(), [noise])  # type: ignore[arg-type]
    assert torch.rand(2, generator=noise, device="cuda").sum().item() > 0
    run = loop.prepare(settings, on_gpu(tiny_data), torch.device("cuda", 0))
    assert len(list(loop.epochs(run))) == 12
    assert run.way_of_steps == {"steps": "CUDA graph"}
