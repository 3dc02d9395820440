"""Runs whose steps are replayed have the curves of those whose steps are called."""

from __future__ import annotations

import dataclasses
import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch
from called_graphs import CalledGraphs
from recorded_curves import ALL

from optuna_study.training import device as devices
from optuna_study.training import loop
from optuna_study.training.backbone.features import Features
from optuna_study.training.optimizers import build_optimizer
from optuna_study.training.steps import kept, stepper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.config.epoch import EpochResult
    from optuna_study.config.settings import TrainConfig
    from optuna_study.training.device_data import DeviceData

    Config = Callable[..., TrainConfig]

CPU = torch.device("cpu")
EXACT = {"lr": 2**-6, "breakpoints": ((1, 2**-8),), "epochs": 2}
"""Rates that single precision holds exactly: a graph has them as tensors of that type."""


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[CalledGraphs]:
    """Graphs on the CPU, for runs of any length."""
    stand_in = CalledGraphs()
    monkeypatch.setattr(devices, "cuda_graphs", lambda _device: stand_in)
    monkeypatch.setattr(stepper, "LEAST_STEPS", 1)
    monkeypatch.setattr(kept, "_kept", kept._Kept())
    threads = torch.get_num_threads()
    yield stand_in
    torch.set_num_threads(threads)


def untimed(result: EpochResult) -> EpochResult:
    return dataclasses.replace(result, seconds=0.0)


def curve(run: loop.Run) -> list[EpochResult]:
    return [untimed(result) for result in loop.epochs(run)]


def called(config: TrainConfig, data: DeviceData) -> list[EpochResult]:
    """The curve of steps that are called."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(devices, "cuda_graphs", lambda _device: None)
        run = loop.prepare(config, data, CPU)
        found = curve(run)
    assert run.way_of_steps == {}
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "momentum", "augmentation": ALL, "normalisation": "batch"},
        {"optimizer": "nesterov", "loss": "mse", "ema": 0.9},
        {"optimizer": "adam", "lr": 2**-9, "augmentation": "resized_crop+flip"},
        {"optimizer": "adamw", "loss": "bce", "gradient_clip": 1.0, "weight_decay": 0.01},
        {"optimizer": "rmsprop", "lr": 2**-10, "class_weights": "balanced", "threads": 1},
        {"optimizer": "adagrad", "label_smoothing": 0.1, "normalisation": "lrn"},
        {"optimizer": "sgd", "precision": "bf16", "schedule": "plateau"},
    ],
    ids=lambda changes: str(changes["optimizer"]),
)
def test_replayed_steps_give_the_curve_of_called_ones_to_the_last_bit(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs, changes: dict[str, Any]
) -> None:
    settings = config(**{**EXACT, **changes})
    run = loop.prepare(settings, tiny_data, CPU)
    assert curve(run) == called(settings, tiny_data)
    assert run.way_of_steps == {"steps": "CUDA graph"}
    assert graphs.warmed_up == 3
    assert graphs.captured == 1
    assert graphs.replayed == 1 + 2 + 2 * run.steps_per_epoch


@pytest.mark.parametrize(
    "changes", [{"mixup": 0.4}, {"mixup": 0.4, "cutmix": 1.0}, {"cutmix": 1.0, "batch_size": 90}]
)
def test_pictures_are_mixed_as_they_are_where_steps_are_called(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs, changes: dict[str, Any]
) -> None:
    settings = config(**{**EXACT, "optimizer": "momentum", "breakpoints": (), **changes})
    run = loop.prepare(settings, tiny_data, CPU)
    assert curve(run) == called(settings, tiny_data)
    assert run.way_of_steps == {"steps": "CUDA graph"}
    assert graphs.captured == 1


def test_a_head_learns_from_the_version_of_its_pictures_that_is_the_epochs(
    tiny_data: DeviceData,
    config: Config,
    graphs: CalledGraphs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = config(**{**EXACT, "epochs": 5, "batch_size": 30})
    kept.keep_steps()
    # These runs have their features only after they are prepared.
    monkeypatch.setattr(kept, "release_other", lambda *_, **__: None)

    def head(seed: int) -> loop.Run:
        """A run of a head on three versions of features that are new each time."""
        drawn = torch.Generator().manual_seed(3)
        versions = tuple(torch.randn(90, 8, generator=drawn) for _ in range(3))
        run = loop.prepare(settings, tiny_data, CPU)
        torch.manual_seed(seed)
        run.model = torch.nn.Linear(8, 3)
        run.features = Features(versions, torch.randn(9, 8), lambda: torch.randn(9, 8))
        run.parameters = tuple(run.model.parameters())
        run.optimizer = build_optimizer(settings.train, run.model)
        return run

    def losses(run: loop.Run) -> list[float]:
        found, stepper_of_run = [], stepper.stepper_of(run)
        for epoch in range(1, 6):
            steps = loop.train_epoch(run, epoch, stepper_of_run)
            assert steps is not None
            found += steps.losses
            run.epoch = epoch
        return found

    replayed = [losses(head(1)), losses(head(2))]
    assert graphs.captured == 1
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(devices, "cuda_graphs", lambda _device: None)
        assert replayed == [losses(head(1)), losses(head(2))]


def test_a_resumed_run_replays_on_from_its_state(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs
) -> None:
    settings = config(**EXACT, optimizer="adam")
    whole = called(settings, tiny_data)
    first = loop.prepare(settings, tiny_data, CPU)
    begun = [untimed(next(loop.epochs(first)))]
    again = loop.prepare(settings, tiny_data, CPU, state=first.state_dict())
    assert begun + curve(again) == whole
    assert graphs.captured == 2


class Broken(CalledGraphs):
    """Graphs whose replays do something else than the step, as its name says."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def capture(self, call: Any, generators: Any) -> Any:
        if self.what == "cannot be captured":
            raise RuntimeError("operation not permitted when stream is capturing")
        return super().capture(call, generators)

    def replay_of(self, call: Callable[[], None], step: Any) -> None:
        if self.what == "does nothing":
            return
        if self.what == "has one rate for ever":
            for rate in step.rates:
                rate.fill_(0.01)
        if self.what == "sees the same pictures for ever":
            step.pictures.copy_(torch.arange(len(step.pictures)))
        if self.what == "writes its figures to one place":
            step.place.zero_()
        buffers = list(step.parts.model.buffers())
        before = [each.clone() for each in buffers]
        call()
        if self.what == "leaves batch norm's means":
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
        if self.what == "adds to a weight":
            with torch.no_grad():
                step.parts.parameters[0].add_(0.01)
        if self.what == "gives no number":
            step.seen.fill_(torch.nan)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("cannot be captured", "operation not permitted when stream is capturing"),
        ("does nothing", "the loss of a replayed step is 0, of the same step called 1."),
        ("has one rate for ever", "two replayed steps leave weights"),
        ("sees the same pictures for ever", "of a replayed step is"),
        ("writes its figures to one place", "the loss of a replayed step is"),
        ("adds to a weight", "of a replayed step is"),
        ("leaves batch norm's means", "two replayed steps leave buffers"),
        ("gives no number", "the loss of a replayed step is nan, of the same step called 1."),
    ],
)
def test_a_graph_that_fails_or_does_something_else_is_not_used(
    tiny_data: DeviceData,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    graphs: CalledGraphs,
    what: str,
    told: str,
) -> None:
    assert graphs.captured == 0
    monkeypatch.setattr(devices, "cuda_graphs", lambda _device: Broken(what))
    settings = config(**{**EXACT, "optimizer": "momentum", "normalisation": "batch", "epochs": 1})
    run = loop.prepare(settings, tiny_data, CPU)
    with caplog.at_level(logging.WARNING):
        found = curve(run)
    assert found == called(settings, tiny_data)
    [line] = [each.getMessage() for each in caplog.records]
    assert line.startswith("no CUDA graph of its steps: ")
    assert told in line
    assert line.endswith("; they go on call by call")
    assert run.way_of_steps["steps"].startswith("eager: ")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"optimizer": "gd"}, "an optimizer that takes all pictures at once"),
        ({"optimizer": "lamb"}, "lamb counts its steps on the host"),
        ({"accumulate": 2}, "several batches a step"),
        ({"precision": "fp16"}, "the scaled losses of fp16"),
        ({"augmentation": "rotation"}, "torchvision's augmentations"),
        ({"augmentation": "random_erasing"}, "torchvision's augmentations"),
        ({"activation": "torch:tanh"}, "a function of one's own"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_what_a_graph_cannot_hold_is_called(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs, changes: Any, reason: str
) -> None:
    run = loop.prepare(config(epochs=2, **changes), tiny_data, CPU)
    stepper.stepper_of(run)
    assert run.way_of_steps == {"steps": f"eager: {reason}"}
    assert graphs.captured == 0


def test_short_runs_halved_batches_and_hooks_are_called(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    halved = loop.prepare(config(), tiny_data, CPU)
    halved.batch_size //= 2
    assert stepper.why_eager(halved) == "several batches a step"
    hooked = loop.prepare(config(), tiny_data, CPU)
    assert stepper.why_eager(hooked) is None
    hooked.optimizer.register_step_post_hook(lambda *_: None)
    assert stepper.why_eager(hooked) == "hooks of its optimizer"
    hooked.epoch = 3  # of four: a resumed run goes on as it has begun
    hooked.optimizer._optimizer_step_post_hooks.clear()
    monkeypatch.setattr(stepper, "LEAST_STEPS", 36)
    assert stepper.why_eager(hooked) is None
    monkeypatch.setattr(stepper, "LEAST_STEPS", 37)
    assert stepper.why_eager(loop.prepare(config(), tiny_data, CPU)) == "fewer than 37 steps"
    on_host = dataclasses.replace(tiny_data, stays_on_host=True)
    run = loop.prepare(config(augmentation="flip", epochs=9), on_host, CPU)
    assert stepper.why_eager(run) == "pictures on the host"
    assert graphs.captured == 0


def test_the_next_run_of_a_shape_takes_over_what_the_last_has_captured(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs
) -> None:
    settings = [
        config(**{**EXACT, "optimizer": "adam", "lr": 2**-9, "ema": 0.9}),
        config(**EXACT, optimizer="adam", seed=7, initialisation="xavier", epoch="best"),
        config(**EXACT, optimizer="adam", beta1=0.8),
    ]
    expected = [called(each, tiny_data) for each in settings]

    def next_curve(number: int) -> list[EpochResult]:
        gc.collect()  # a worker's runs go with their last name; tests keep some in frames
        return curve(loop.prepare(settings[number], tiny_data, CPU))

    kept.keep_steps()
    assert [next_curve(0), next_curve(1)] == expected[:2]
    assert graphs.captured == 1
    assert next_curve(2) == expected[2]
    assert graphs.captured == 2
    kept.close()  # as in a process where nobody says that runs follow each other
    assert next_curve(2) == expected[2]
    assert graphs.captured == 3


def test_a_run_that_is_still_there_keeps_its_model(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs
) -> None:
    kept.keep_steps()
    first, second = (loop.prepare(config(**EXACT, seed=seed), tiny_data, CPU) for seed in (1, 2))
    assert curve(first) != curve(second)
    assert graphs.captured == 2
    assert first.model is not second.model


def test_a_run_of_another_shape_gives_the_memory_back_before_it_is_built(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs
) -> None:
    kept.keep_steps()
    one = loop.prepare(config(**EXACT), tiny_data, CPU)
    key, one_config = kept.key_of(one.config, one.data), one.config
    curve(one)
    del one
    gc.collect()
    assert kept.find(key, None) is not None
    loop.prepare(config(**EXACT, seed=3), tiny_data, CPU)
    assert kept.find(key, None) is not None
    kept.release_other(one_config, tiny_data, reads_features=False)
    assert kept.find(key, None) is not None
    kept.release_other(one_config, tiny_data, reads_features=True)
    assert kept.find(key, None) is None
    curve(loop.prepare(config(**EXACT), tiny_data, CPU))
    assert kept.find(key, object()) is not None
    loop.prepare(config(**EXACT, width=0.1), tiny_data, CPU)
    assert kept.find(key, object()) is None
    assert graphs.captured == 2


def test_a_run_that_calls_its_steps_gives_the_memory_of_the_kept_one_back(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep_steps()
    curve(loop.prepare(config(**EXACT), tiny_data, CPU))
    halved = loop.prepare(config(**EXACT), tiny_data, CPU)
    halved.batch_size //= 2
    given_back: list[object] = []
    monkeypatch.setattr(devices, "release_memory", given_back.append)
    stepper.stepper_of(halved)
    assert given_back == [CPU]
    assert not kept.release()
    stepper.stepper_of(halved)
    assert given_back == [CPU]
    assert graphs.captured == 1


def test_after_a_capture_that_failed_no_other_is_tried(
    tiny_data: DeviceData, config: Config, graphs: CalledGraphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert graphs.captured == 0
    monkeypatch.setattr(devices, "cuda_graphs", lambda _device: Broken("cannot be captured"))
    expected = called(config(**EXACT), tiny_data)
    run = loop.prepare(config(**EXACT), tiny_data, CPU)

    def counts_it_as_begun(_: object) -> None:
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(devices, "release_memory", counts_it_as_begun)
        assert curve(run) == expected
    monkeypatch.setattr(devices, "cuda_graphs", lambda _device: graphs)
    again = loop.prepare(config(**EXACT), tiny_data, CPU)
    stepper.stepper_of(again)
    assert again.way_of_steps == {"steps": "eager: a capture has failed in this process"}
    assert graphs.captured == 0
