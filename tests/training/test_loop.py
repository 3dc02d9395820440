from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from optuna_study.config.reasons import DivergenceKind
from optuna_study.config.settings import TrainConfig, config_to_dict
from optuna_study.errors import DataError, UsageError
from optuna_study.seeds import stream_seed
from optuna_study.training import checkpoint, evaluation, loop
from optuna_study.training.device import read_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna_study.config.epoch import EpochResult
    from optuna_study.training.device_data import DeviceData

    Config = Callable[..., TrainConfig]

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class CountingReads:
    """Reads as the real one, and remembers how much was read each time."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, values: torch.Tensor) -> list[float]:
        self.sizes.append(values.numel())
        return read_numbers(values)


def figures(result: EpochResult) -> tuple[Any, ...]:
    """Everything of a result but its duration; NaN as a text, so that it equals itself."""
    values = dataclasses.asdict(result)
    del values["seconds"], values["divergence"]
    return tuple("nan" if value != value else value for value in values.values())


def curve(config: TrainConfig, data: DeviceData, **options: Any) -> list[tuple[Any, ...]]:
    return [figures(result) for result in loop.epochs(loop.prepare(config, data, CPU, **options))]


def test_a_small_net_learns(tiny_data: DeviceData, config: Config) -> None:
    run = loop.prepare(config(epochs=6), tiny_data, CPU)
    results = list(loop.epochs(run))
    assert [result.epoch for result in results] == [1, 2, 3, 4, 5, 6]
    assert results[-1].validation_accuracy > 0.9
    assert results[-1].train_loss < results[0].train_loss
    assert all(result.divergence is None for result in results)
    assert all(result.gradient_norm > 0 and result.seconds > 0 for result in results)
    assert run.test().accuracy > 0.9


def test_every_setting_of_data_reaches_the_loop(tiny_data: DeviceData, config: Config) -> None:
    plain = curve(config(epochs=1), tiny_data)
    for change in ({"augmentation": "flip+color_jitter"}, {"seed": 1}, {"loss": "bce"}):
        assert curve(config(epochs=1, **change), tiny_data) != plain


class TestOneEpoch:
    """The first epoch against a loop written out plainly."""

    def test_figures(self, tiny_data: DeviceData, config: Config) -> None:
        settings = config(dropout=0.0, epochs=1, batch_size=40, weight_decay=0.01)
        run = loop.prepare(settings, tiny_data, CPU)
        reference = loop.prepare(settings, tiny_data, CPU).model
        weights = [p for p in reference.parameters() if p.ndim > 1]
        others = [p for p in reference.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": 0.01},
            {"params": others},
        ]
        optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
        seed = stream_seed(0, "order", 1)
        order = torch.randperm(90, generator=torch.Generator().manual_seed(seed))
        losses, norms, correct = [], [], 0
        mean, std = (values.view(1, 3, 1, 1) for values in (tiny_data.mean, tiny_data.std))
        for batch in (order[:40], order[40:80]):
            images = (tiny_data.train_images[batch] / 255 - mean) / std
            labels = tiny_data.train_labels[batch]
            optimizer.zero_grad()
            logits = reference(images)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            torch.autograd.backward(loss)
            losses.append(loss.item())
            squares = [p.grad.square().sum() for p in reference.parameters() if p.grad is not None]
            norms.append(math.sqrt(sum(square.item() for square in squares)))
            correct += int((logits.argmax(1) == labels).sum())
            optimizer.step()
        (result,) = loop.epochs(run)
        assert result.train_loss == pytest.approx(sum(losses) / 2, rel=1e-5)
        assert result.gradient_norm == pytest.approx(sum(norms) / 2, rel=1e-4)
        assert result.train_accuracy == pytest.approx(correct / 80)
        assert result.lr == 0.01
        for got, expected in zip(run.model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("batch_size", [90, 40, 7])
    def test_full_batch_descent_takes_one_exact_step(
        self, tiny_data: DeviceData, config: Config, batch_size: int
    ) -> None:
        changes: dict[str, Any] = {"optimizer": "gd", "dropout": 0.0, "epochs": 2, "lr": 0.05}
        settings = config(batch_size=batch_size, breakpoints=((1, 0.02),), **changes)
        run = loop.prepare(settings, tiny_data, CPU)
        assert (run.steps_per_epoch, run.pictures_per_step) == (1, 90)
        reference = loop.prepare(settings, tiny_data, CPU).model
        mean, std = (values.view(1, 3, 1, 1) for values in (tiny_data.mean, tiny_data.std))
        images = (tiny_data.train_images / 255 - mean) / std
        for result, lr in zip(loop.epochs(run), (0.05, 0.02), strict=True):
            logits = reference(images)
            loss = torch.nn.functional.cross_entropy(logits, tiny_data.train_labels)
            parameters = list(reference.parameters())
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.sub_(gradient, alpha=lr)
            norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients))
            assert result.lr == lr
            assert result.train_loss == pytest.approx(loss.item(), rel=1e-5)
            assert result.gradient_norm == pytest.approx(norm, rel=1e-4)
            right = (logits.argmax(1) == tiny_data.train_labels).sum().item()
            assert result.train_accuracy == pytest.approx(right / 90)
        for got, expected in zip(run.model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)

    def test_evaluation(self, tiny_data: DeviceData, config: Config) -> None:
        run = loop.prepare(config(evaluation_batch_size=7), tiny_data, CPU)
        (first, *_) = loop.epochs(run)
        run.model.eval()
        mean, std = (values.view(1, 3, 1, 1) for values in (tiny_data.mean, tiny_data.std))
        with torch.no_grad():
            logits = run.model((tiny_data.test_images / 255 - mean) / std)
        labels = tiny_data.test_labels
        told = run.evaluate(tiny_data.test_images, labels)
        expected = torch.zeros(3, 3, dtype=torch.int64)
        for truth, answer in zip(labels, logits.argmax(1), strict=True):
            expected[truth, answer] += 1
        assert told.confusion.equal(expected)
        assert told.confusion.dtype == torch.int64
        assert told.accuracy == expected.trace().item() / 36
        loss = torch.nn.functional.cross_entropy(logits, labels).item()
        assert told.loss == pytest.approx(loss, rel=1e-5)
        chances = evaluation.predict_proba(run.model, run.config, run.data, tiny_data.test_images)
        torch.testing.assert_close(chances, logits.softmax(1))
        assert 0 <= first.validation_accuracy <= 1

    def test_validation_confusion(self, tiny_data: DeviceData, config: Config) -> None:
        reads = CountingReads()
        run = loop.prepare(config(epochs=2), tiny_data, CPU, read=reads)
        for result in loop.epochs(run):
            before = len(reads.sizes)
            confusion = run.validate().confusion
            assert len(reads.sizes) == before
            assert confusion.sum(dim=1).tolist() == [10, 10, 10]
            assert confusion.trace().item() / 30 == result.validation_accuracy


def test_batch_norm_never_meets_a_single_picture_in_full_batch_descent(
    tiny_data: DeviceData, config: Config
) -> None:
    settings = config(optimizer="gd", normalisation="batch", batch_size=89, epochs=1)
    (result,) = loop.epochs(loop.prepare(settings, tiny_data, CPU))
    assert math.isfinite(result.train_loss)


class TestReads:
    def test_one_per_32_steps_and_one_per_epoch(
        self, tiny_data: DeviceData, config: Config
    ) -> None:
        reads = CountingReads()
        run = loop.prepare(config(batch_size=1, epochs=2), tiny_data, CPU, read=reads)
        reads.sizes.clear()
        list(loop.epochs(run))
        # 90 steps an epoch: 32 + 32 + 26 of three numbers each, then losses and confusion matrix.
        assert reads.sizes == [96, 96, 78, 11] * 2

    def test_one_per_epoch_when_it_is_short(self, tiny_data: DeviceData, config: Config) -> None:
        reads = CountingReads()
        run = loop.prepare(config(epochs=1), tiny_data, CPU, read=reads)
        reads.sizes.clear()
        list(loop.epochs(run))
        assert reads.sizes == [27, 11]


class TestDivergence:
    @pytest.mark.parametrize(
        "poisoned_step",
        [
            pytest.param(each, marks=() if each == 33 else pytest.mark.slow)
            for each in (1, 31, 32, 33, 60)
        ],
    )
    def test_an_injected_nan_is_found_within_32_steps(
        self, tiny_data: DeviceData, config: Config, poisoned_step: int
    ) -> None:
        run = loop.prepare(config(batch_size=1, lr=1e-4), tiny_data, CPU)
        steps = 0

        def poison(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            nonlocal steps
            steps += run.model.training
            return output * math.nan if steps == poisoned_step else output

        run.model.register_forward_hook(poison)
        results = list(loop.epochs(run))
        assert len(results) == 1
        found = results[0].divergence
        assert found is not None
        assert found.kind is DivergenceKind.NON_FINITE
        assert (found.epoch, found.step) == (1, poisoned_step)
        assert steps - poisoned_step < 32
        assert math.isnan(results[0].validation_loss)
        assert math.isnan(results[0].validation_accuracy)

    def test_a_huge_rate_ends_the_run(self, tiny_data: DeviceData, config: Config) -> None:
        results = list(loop.epochs(loop.prepare(config(lr=50.0), tiny_data, CPU)))
        assert results[-1].divergence is not None
        assert len(results) < 4
        assert all(result.divergence is None for result in results[:-1])

    def test_zeros_are_dead(self, tiny_data: DeviceData, config: Config) -> None:
        run = loop.prepare(
            config(initialisation="zeros", normalisation="none", epochs=30), tiny_data, CPU
        )
        results = list(loop.epochs(run))
        # Half of the epochs, which are of nine steps, and a hundred steps at least.
        assert len(results) == 15
        assert results[-1].divergence is not None
        assert results[-1].divergence.kind is DivergenceKind.DEAD
        assert results[-1].validation_accuracy == pytest.approx(1 / 3)
        assert list(loop.epochs(run)) == []

    @pytest.mark.slow
    def test_an_ended_run_stays_ended_after_a_checkpoint(
        self, tiny_data: DeviceData, config: Config
    ) -> None:
        settings = config(initialisation="zeros", normalisation="none", epochs=20)
        run = loop.prepare(settings, tiny_data, CPU)
        assert len(list(loop.epochs(run))) == 12
        again = loop.prepare(settings, tiny_data, CPU, state=run.state_dict())
        assert list(loop.epochs(again)) == []


class TestSteps:
    def test_left_over_pictures_are_dropped(self, tiny_data: DeviceData, config: Config) -> None:
        run = loop.prepare(config(batch_size=40), tiny_data, CPU)
        assert (run.batch_size, run.steps_per_epoch) == (40, 2)

    def test_a_batch_is_no_larger_than_the_data(
        self, tiny_data: DeviceData, config: Config
    ) -> None:
        run = loop.prepare(config(batch_size=500, epochs=1), tiny_data, CPU)
        assert (run.batch_size, run.steps_per_epoch) == (90, 1)
        assert len(list(loop.epochs(run))) == 1

    def test_single_pictures_and_batch_norm(self, tiny_data: DeviceData, config: Config) -> None:
        with pytest.raises(UsageError, match="batch norm needs two pictures per step"):
            loop.prepare(config(batch_size=1, normalisation="batch"), tiny_data, CPU)

    def test_the_rate_of_each_epoch_is_the_schedules(
        self, tiny_data: DeviceData, config: Config
    ) -> None:
        settings = config(breakpoints=((1, 0.003), (3, 0.001)))
        results = loop.epochs(loop.prepare(settings, tiny_data, CPU))
        assert [result.lr for result in results] == [0.01, 0.003, 0.003, 0.001]

    def test_nothing_to_evaluate(self, tiny_data: DeviceData, config: Config) -> None:
        run = loop.prepare(config(), tiny_data, CPU)
        with pytest.raises(DataError, match="no pictures"):
            run.evaluate(tiny_data.test_images[:0], tiny_data.test_labels[:0])


class TestStop:
    def test_a_stop_ends_the_run_before_the_next_step(
        self, tiny_data: DeviceData, config: Config
    ) -> None:
        run = loop.prepare(config(batch_size=10), tiny_data, CPU)
        steps = 0

        def stop_in_the_second_epoch(*_arguments: object) -> None:
            nonlocal steps
            steps += run.model.training
            if steps == 12:
                run.stop.set()

        run.model.register_forward_hook(stop_in_the_second_epoch)
        assert [result.epoch for result in loop.epochs(run)] == [1]
        assert steps == 12

    def test_a_broken_epoch_has_no_state(self, tiny_data: DeviceData, config: Config) -> None:
        run = loop.prepare(config(), tiny_data, CPU)
        run.stop.set()
        assert list(loop.epochs(run)) == []
        with pytest.raises(RuntimeError, match="stopped within an epoch"):
            run.state_dict()

    def test_between_epochs_the_state_is_whole(
        self, tiny_data: DeviceData, config: Config
    ) -> None:
        run = loop.prepare(config(), tiny_data, CPU)
        results = loop.epochs(run)
        next(results)
        assert run.state_dict()["epoch"] == 1


class TestRandomness:
    @pytest.mark.slow
    def test_runs_do_not_disturb_each_other_or_their_caller(
        self, tiny_data: DeviceData, config: Config
    ) -> None:
        settings = config(dropout=0.5, augmentation="crop+flip", epochs=2)
        alone = curve(settings, tiny_data)
        torch.manual_seed(3)
        expected = torch.rand(2)
        torch.manual_seed(3)
        runs = [loop.epochs(loop.prepare(settings, tiny_data, CPU)) for _ in range(2)]
        together = [[figures(next(one)) for one in runs] for _ in range(2)]
        assert torch.rand(2).equal(expected)
        assert [first for first, _ in together] == [second for _, second in together] == alone

    @pytest.mark.parametrize(("shuffle", "different"), [("every_epoch", 3), ("once", 1)])
    def test_pictures_are_shuffled_as_the_setting_says(
        self, tiny_data: DeviceData, config: Config, shuffle: str, different: int
    ) -> None:
        """By what the model is given: one step an epoch, of nine in ten pictures."""
        run = loop.prepare(config(epochs=3, shuffle=shuffle, batch_size=81), tiny_data, CPU)
        taken: list[tuple[int, ...]] = []
        whole = run.data.train_images.flatten(1).float()

        def look(_module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            if run.model.training:
                images = given[0] * run.data.std.view(1, 3, 1, 1)
                images = (images + run.data.mean.view(1, 3, 1, 1)) * 255
                pairs = torch.cdist(images.flatten(1), whole)
                taken.append(tuple(pairs.argmin(dim=1).tolist()))

        run.model.register_forward_pre_hook(look)
        list(loop.epochs(run))
        assert len(taken) == 3
        assert all(len(set(each)) == 81 for each in taken)
        assert len(set(taken)) == different

    def test_epochs_differ_in_order_and_noise(self) -> None:
        seeds = {
            stream_seed(seed, stream, epoch)
            for seed in range(3)
            for stream in ("order", "augmentation", "dropout")
            for epoch in range(5)
        }
        assert len(seeds) == 45
        assert all(0 <= seed < 2**63 for seed in seeds)


SCRIPT = """
import dataclasses, json, sys
from pathlib import Path
import torch
from optuna_study.training import checkpoint, evaluation, loop
from optuna_study.config.reader import Node, Problems, read_config
from optuna_study.training.device_data import DeviceData

folder = Path(sys.argv[1])
fields = torch.load(folder / "data.pt")
data = DeviceData(**fields, memory_format=torch.contiguous_format)
raw = json.loads((folder / "config.json").read_text())
config = read_config(Node(raw, "", Problems()))
for state in (None, checkpoint.load(folder / "state.pt")):
    torch.rand(5)
    for result in loop.epochs(loop.prepare(config, data, torch.device("cpu"), state=state)):
        values = dataclasses.asdict(result)
        del values["seconds"]
        exact = {k: v.hex() if isinstance(v, float) else v for k, v in values.items()}
        sys.stdout.write(json.dumps(exact) + "\\n")
"""


@pytest.mark.slow
def test_curves_are_the_same_to_the_last_bit_in_another_process(
    tiny_data: DeviceData, config: Config, tmp_path: Path
) -> None:
    """A run here against one in a second process, which then resumes the first's checkpoint."""
    fields = {
        entry.name: getattr(tiny_data, entry.name)
        for entry in dataclasses.fields(tiny_data)
        if entry.name != "memory_format"
    }
    torch.save(fields, tmp_path / "data.pt")
    settings = config(
        dropout=0.5,
        normalisation="batch",
        optimizer="adam",
        lr=0.002,
        augmentation="crop+flip+color_jitter+pca_jitter",
        schedule="cosine",
    )
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(settings)))
    run, here = loop.prepare(settings, tiny_data, CPU), []
    for result in loop.epochs(run):
        if result.epoch == 2:
            checkpoint.save(tmp_path / "state.pt", run.state_dict())
        values = dataclasses.asdict(result)
        del values["seconds"]
        here.append({k: v.hex() if isinstance(v, float) else v for k, v in values.items()})
    assert len(here) == 4

    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], check=True, capture_output=True, text=True
    )
    there = [json.loads(line) for line in process.stdout.splitlines()]
    assert there[:4] == here
    assert there[4:] == here[2:]


@pytest.mark.parametrize(
    "memory_format",
    [pytest.param(torch.contiguous_format, marks=pytest.mark.slow), torch.channels_last],
)
@pytest.mark.parametrize(
    "optimizer",
    [
        "adamw",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("sgd", "momentum", "adagrad", "rmsprop")
        ),
    ],
)
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(
    tiny_data: DeviceData,
    config: Config,
    tmp_path: Path,
    optimizer: str,
    memory_format: torch.memory_format,
) -> None:
    tiny_data = dataclasses.replace(tiny_data, memory_format=memory_format)
    settings = config(optimizer=optimizer, lr=0.003, dropout=0.3, epochs=3)
    run = loop.prepare(settings, tiny_data, CPU)
    results = loop.epochs(run)
    next(results)
    checkpoint.save(tmp_path / "state.pt", run.state_dict())
    rest = [figures(result) for result in results]
    assert curve(settings, tiny_data, state=checkpoint.load(tmp_path / "state.pt")) == rest
    assert len(rest) == 2


def test_a_state_of_other_pictures_is_refused(tiny_data: DeviceData, config: Config) -> None:
    state = loop.prepare(config(), tiny_data, CPU).state_dict()
    other = dataclasses.replace(tiny_data, fingerprint="f" * 64)
    with pytest.raises(DataError, match="belongs to other pictures"):
        loop.prepare(config(), other, CPU, state=state)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_path_on_cuda(tiny_data: DeviceData, config: Config) -> None:
    device = torch.device("cuda", 0)
    moved: dict[str, Any] = {
        entry.name: value.to(device)
        for entry in dataclasses.fields(tiny_data)
        if isinstance(value := getattr(tiny_data, entry.name), torch.Tensor)
    }
    data = dataclasses.replace(tiny_data, **moved)
    settings = config(dropout=0.0, epochs=3)
    results = list(loop.epochs(loop.prepare(settings, data, device)))
    for (_, *got), (_, *expected) in zip(
        map(figures, results), curve(settings, tiny_data), strict=True
    ):
        assert got == pytest.approx(expected, rel=0.05, abs=0.05)
