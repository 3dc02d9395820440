from __future__ import annotations

import dataclasses
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, strategies

from optuna_study.config.settings import DataSettings, ModelSettings, TrainConfig, with_settings
from optuna_study.search.objective import to_record
from optuna_study.search.resume import CheckpointedRun, Point, find_point
from optuna_study.store.records import Claim, EpochRecord
from optuna_study.training import checkpoint, evaluation
from optuna_study.training.device import environment
from optuna_study.training.device_data import load_data

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.paths import Workspace
    from optuna_study.training.device_data import DeviceData

CPU = torch.device("cpu")
HERE = environment(CPU, 1)
CONFIG = with_settings(
    TrainConfig(),
    {
        "image_size": 16,
        "subset": 0.3,
        "width": 0.1,
        "epochs": 4,
        "batch_size": 64,
        "optimizer": "adam",
        "lr": 0.002,
        "dropout": 0.2,
        "threads": 1,
    },
)
CLAIM = Claim("u", 1, 8, 7, "t", None, {}, 5, checkpoint_epoch=2, ordinal=2)


@pytest.fixture(scope="module")
def data(shared_workspace: Workspace) -> DeviceData:
    settings = dataclasses.replace(CONFIG.data, name="digits")
    return load_data(settings, None, shared_workspace, CPU)


def train(
    data: DeviceData, path: Path, point: Point | None = None, until: int = 99
) -> tuple[CheckpointedRun, list[EpochRecord]]:
    run = CheckpointedRun(CONFIG, data, CPU, path, HERE, threading.Event(), point)
    records = []
    for result in run.epochs():
        records.append(to_record(dataclasses.replace(result, seconds=0.0), "validation_loss"))
        if result.epoch == until:
            run.save()
            break
    return run, records


@pytest.mark.slow
def test_a_trial_goes_on_as_if_it_had_never_stopped(data: DeviceData, tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    whole, curve = train(data, path)
    _, before = train(data, path, until=2)
    point = find_point(path, CLAIM, before, HERE)
    assert point is not None
    assert (point.epoch, point.elsewhere) == (2, ())
    resumed, after = train(data, path, point)
    assert [*point.before, *after] == curve
    assert resumed.confusion().tolist() == whole.confusion().tolist()


@pytest.mark.slow
def test_a_network_with_frozen_norms_costs_what_the_saved_one_does(
    tmp_path: Path, shared_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelSettings(
        name="timm:tf_efficientnet_lite0", pretrained="auto", norm_statistics="frozen"
    )
    pictures = DataSettings(name="rendered", image_size=32, picture_limit=40)
    config = dataclasses.replace(CONFIG, data=pictures, model=model)
    data = load_data(pictures, None, shared_workspace, CPU)
    trial = CheckpointedRun(config, data, CPU, tmp_path / "trial.pt", HERE, threading.Event())

    def changed(model: torch.nn.Module, *_: object) -> float:
        return float(sum("forward" in vars(module) for module in model.modules()))

    monkeypatch.setitem(evaluation.MEASURES, "parameters", changed)
    assert changed(trial.run.model) > 0
    assert trial.measure("parameters") == 0


def test_a_checkpoint_made_elsewhere_says_what_differs(data: DeviceData, tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    _, before = train(data, path, until=1)
    there = {**HERE, "threads": 2, "torch": "9.9", "memory": 0}
    point = find_point(path, CLAIM, before, there)
    assert point is not None
    assert point.elsewhere == (f"torch was {HERE['torch']}, is 9.9", "threads was 1, is 2")


def test_a_checkpoint_that_cannot_be_used_means_beginning_anew(
    data: DeviceData, tmp_path: Path
) -> None:
    path = tmp_path / "trial.pt"
    assert find_point(path, CLAIM, [], HERE) is None  # none there
    _, before = train(data, path, until=2)
    assert find_point(path, dataclasses.replace(CLAIM, ordinal=1), before, HERE) is None
    assert find_point(path, CLAIM, before[1:], HERE) is None  # epoch 1 was never reported
    path.write_bytes(path.read_bytes()[:100])
    assert find_point(path, CLAIM, before, HERE) is None  # damaged


class Bomb:
    """Pickles as a call that leaves a folder behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize(
    "place",
    [
        "epoch",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("run", "environment", "more")),
    ],
)
def test_a_checkpoint_with_code_in_it_means_beginning_anew(
    data: DeviceData, tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, marker = tmp_path / "trial.pt", tmp_path / "executed"
    _, before = train(data, path, until=2)
    stored = torch.load(path, weights_only=True)
    torch.save({**stored, place: Bomb(marker)}, path)
    assert find_point(path, CLAIM, before, HERE) is None
    assert "begins anew" in caplog.text
    assert not marker.exists()


@pytest.mark.parametrize("epoch", [10**9, -1, 0, 3, True, 2.0, "2", None])
@pytest.mark.slow
def test_an_epoch_that_cannot_be_means_beginning_anew(
    data: DeviceData, tmp_path: Path, epoch: object
) -> None:
    path = tmp_path / "trial.pt"
    _, before = train(data, path, until=2)
    stored = checkpoint.load(path)
    for state in (stored["run"], {**stored["run"], "epoch": epoch}):
        checkpoint.save(path, {**stored, "epoch": epoch, "run": state})
        assert find_point(path, CLAIM, before, HERE) is None


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trial.pt")
    assert find_point(tmp_path / "trial.pt", CLAIM, [], HERE) is None


@pytest.mark.parametrize("part", ["model", "optimizer", "watch"])
@pytest.mark.slow
def test_a_state_that_does_not_fit_means_beginning_anew(
    data: DeviceData, tmp_path: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trial.pt"
    _, before = train(data, path, until=2)
    stored = checkpoint.load(path)
    checkpoint.save(path, {**stored, "run": {**stored["run"], part: {"other": torch.zeros(3)}}})
    point = find_point(path, CLAIM, before, HERE)
    assert point is not None
    stop = threading.Event()
    run = CheckpointedRun.resumed(CONFIG, data, CPU, path, HERE, stop, point)
    assert (run.before, run.run.epoch) == ((), 0)
    assert "begins anew" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.fixture(scope="module")
def saved(
    data: DeviceData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, list[EpochRecord], Point]:
    """A checkpoint's bytes, the epochs that were reported, and what is resumed from it."""
    path = tmp_path_factory.mktemp("saved") / "trial.pt"
    _, before = train(data, path, until=2)
    point = find_point(path, CLAIM, before, HERE)
    assert point is not None
    return path.read_bytes(), before, point


@given(share=strategies.floats(0, 1, exclude_max=True), bit=strategies.integers(0, 7))
@pytest.mark.slow
def test_no_flipped_bit_is_trained_from(
    saved: tuple[bytes, list[EpochRecord], Point],
    tmp_path_factory: pytest.TempPathFactory,
    share: float,
    bit: int,
) -> None:
    whole, before, point = saved
    damaged = bytearray(whole)
    damaged[int(share * len(damaged))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flipped") / "trial.pt"
    path.write_bytes(damaged)
    found = find_point(path, CLAIM, before, HERE)
    if found is not None:  # a bit that says nothing, such as one of a file's date
        assert (found.epoch, found.before) == (point.epoch, point.before)
        assert same(found.state, point.state)


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.equal(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("place", ["epoch", "run", "environment"])
@pytest.mark.slow
def test_a_checkpoint_of_something_else_means_beginning_anew(
    data: DeviceData, tmp_path: Path, place: str
) -> None:
    path = tmp_path / "trial.pt"
    _, before = train(data, path, until=2)
    checkpoint.save(path, {**checkpoint.load(path), place: "other"})
    assert find_point(path, CLAIM, before, HERE) is None
