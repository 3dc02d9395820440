"""What `launch --tensorboard` writes, read by TensorBoard's own reader."""

from __future__ import annotations

import copy
import io
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from launching import work_here
from PIL import Image

from optuna_study.artifacts.answers import plane_picture
from optuna_study.artifacts.tensorboard import StepEvents, run_folder, samples, write_trial
from optuna_study.config.settings import DataSettings, ModelSettings, TrainConfig, with_settings
from optuna_study.errors import FolderError, UsageError
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.paths import Workspace
from optuna_study.store.reads import reads
from optuna_study.store.records import End, EndKind, EpochRecord
from optuna_study.training.device_data import load_data
from optuna_study.training.loop import epochs
from optuna_study.training.run import prepare as prepare_run

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.training.device_data import DeviceData

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
)

CURVE = [
    EpochRecord(1, 0.4, 1.5, 0.5, 1.6, 0.4, 0.01, 3.0, 10.0),
    EpochRecord(2, 0.7, 0.9, 0.7, 1.0, 0.65, 0.003, 2.0, 12.0),
]
STUDY = """
data = {name = "digits", image_size = 16, subset = 0.3}
model = {width = 0.05, dropout = 0.0}
train = {epochs = 2, batch_size = 64, threads = 1, optimizer = "adam", lr = 0.001}
search = {trials = 1, confirm = {top = 0}, pruner = "none"}
[space]
lr = {low = 1e-4, high = 0.01, log = true}
[[baselines]]
name = "plain"
"""


def events(folder: Path) -> Any:
    """Everything that TensorBoard reads of one folder."""
    reader = event_accumulator.EventAccumulator(str(folder), size_guidance={"images": 0})
    return reader.Reload()


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(each.step, round(each.value, 6)) for each in events(folder).Scalars(tag)]


def hyperparameters(folder: Path) -> dict[str, Any]:
    """The settings of a run as TensorBoard's own plugin stores them."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    content = events(folder).SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    stored = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind") or "") for name, value in stored.items()}


@pytest.fixture(scope="module")
def digits(shared_workspace: Workspace) -> DeviceData:
    settings = DataSettings(name="digits", image_size=16)
    return load_data(settings, None, shared_workspace, torch.device("cpu"))


def write(run: Path, data: DeviceData, **settings: Any) -> None:
    config = with_settings(
        TrainConfig(data=DataSettings(name="digits", image_size=16)),
        {"lr": 0.01, "breakpoints": ((1, 0.003),), **settings},
    )
    end = End(EndKind.COMPLETED, "all 2 epochs", 0.7)
    names = ("lr", "breakpoints", "activation", "batch_size")
    write_trial(run, config, names, data, end, CURVE, "validation_accuracy")


def test_scalars_come_back_as_they_were_recorded(tmp_path: Path, digits: DeviceData) -> None:
    write(tmp_path, digits)
    assert scalars(tmp_path / "train", "loss") == [(1, 1.5), (2, 0.9)]
    assert scalars(tmp_path / "train", "accuracy") == [(1, 0.5), (2, 0.7)]
    assert scalars(tmp_path / "train", "gradient_norm") == [(1, 3.0), (2, 2.0)]
    assert scalars(tmp_path / "train", "learning_rate") == [(1, 0.01), (2, 0.003)]
    assert scalars(tmp_path / "validation", "loss") == [(1, 1.6), (2, 1.0)]
    assert scalars(tmp_path / "validation", "accuracy") == [(1, 0.4), (2, 0.65)]
    first, second = events(tmp_path / "train").Scalars("loss")
    assert second.wall_time - first.wall_time == pytest.approx(12.0, abs=0.1)


def trained(data: DeviceData, folder: Path | None) -> list[Any]:
    """The curve of a small net with dropout, looked at while it trains or not."""
    changes: dict[str, Any] = {"epochs": 3, "batch_size": 8, "lr": 0.05, "threads": 1}
    model = ModelSettings(name="mlp", variant="50")
    base = TrainConfig(data=DataSettings(name="digits", image_size=16), model=model)
    settings = with_settings(base, changes)
    run = prepare_run(settings, data, torch.device("cpu"))
    events = None if folder is None else StepEvents(folder, run)
    run.observer = events
    curve = [replace(result, seconds=0.0) for result in epochs(run)]
    if events is not None:
        events.close()
    return curve


@pytest.mark.slow
def test_figures_are_written_by_step_while_it_trains(tmp_path: Path, digits: DeviceData) -> None:
    """Every hundred steps or a few more, with the graph, and the curve is what it is without."""
    assert trained(digits, tmp_path / "run") == trained(digits, None)
    train, fixed = (tmp_path / "run/steps" / side for side in ("train", "validation"))
    per_epoch = len(digits.train_labels) // 8
    steps = [step for step, _ in scalars(train, "loss")]
    assert len(steps) == 3 * per_epoch // 100
    assert all(0 <= step - 100 * (1 + index) < 32 for index, step in enumerate(steps))
    for tag in ("gradient_norm", "learning_rate"):
        assert [step for step, _ in scalars(train, tag)] == steps
    accuracies = scalars(fixed, "accuracy")
    assert [step for step, _ in accuracies] == steps
    assert all(round(20 * value, 3) % 1 == 0 for _, value in accuracies), "of twenty pictures"
    names = {node.name.rpartition("/")[2] for node in events_of_graph(train)}
    assert "weight" in names


@pytest.mark.slow
def test_a_network_with_frozen_norms_has_its_graph(
    tmp_path: Path, shared_workspace: Workspace
) -> None:
    model = ModelSettings(
        name="timm:tf_efficientnet_lite0", pretrained="auto", norm_statistics="frozen"
    )
    data = DataSettings(name="rendered", image_size=32, picture_limit=40)
    config = with_settings(TrainConfig(data=data, model=model), {"threads": 1, "batch_size": 8})
    cpu = torch.device("cpu")
    run = prepare_run(config, load_data(data, None, shared_workspace, cpu), cpu)
    assert any("forward" in vars(module) for module in run.model.modules())
    StepEvents(tmp_path, run).close()
    names = {node.name for node in events_of_graph(tmp_path / "steps/train")}
    assert any("conv_stem" in name for name in names)


def events_of_graph(folder: Path) -> Any:
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    return GraphDef.FromString(events(folder).Graph().SerializeToString()).node


@pytest.mark.slow
def test_a_resumed_run_hides_what_it_does_again(tmp_path: Path, digits: DeviceData) -> None:
    base = TrainConfig(
        data=DataSettings(name="digits", image_size=16),
        model=ModelSettings(name="mlp", variant="50"),
    )
    settings = with_settings(base, {"epochs": 3, "batch_size": 8, "threads": 1})
    run = prepare_run(settings, digits, torch.device("cpu"))
    first = run.observer = StepEvents(tmp_path, run)
    results = epochs(run)
    next(results)
    state = copy.deepcopy(run.state_dict())
    next(results)  # written, and lost with the worker
    first.close()
    again = prepare_run(settings, digits, torch.device("cpu"), state=state)
    second = again.observer = StepEvents(tmp_path, again)
    assert len(list(epochs(again))) == 2
    second.close()
    steps = [step for step, _ in scalars(tmp_path / "steps/train", "loss")]
    assert steps == sorted(set(steps))
    assert len(steps) == 3 * (len(digits.train_labels) // 8) // 100


@pytest.mark.slow
def test_a_full_disk_costs_the_figures_alone(
    tmp_path: Path, digits: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    assert trained(digits, tmp_path) == trained(digits, None)


@pytest.mark.slow
def test_what_is_written_at_the_end_leaves_the_steps_alone(
    tmp_path: Path, digits: DeviceData
) -> None:
    trained(digits, tmp_path)
    before = scalars(tmp_path / "steps/train", "loss")
    write(tmp_path, digits)
    write(tmp_path, digits)
    assert scalars(tmp_path / "steps/train", "loss") == before
    assert scalars(tmp_path / "train", "loss") == [(1, 1.5), (2, 0.9)]


def test_hyperparameters_stand_beside_what_they_reached(
    tmp_path: Path, digits: DeviceData
) -> None:
    write(tmp_path, digits)
    assert hyperparameters(tmp_path) == {
        "lr": 0.01,
        "breakpoints": "after 1: 0.003",
        "activation": "relu",
        "batch_size": 32.0,
        "end": "completed",
    }
    assert scalars(tmp_path, "validation_accuracy") == [(0, 0.7)]


def test_sample_pictures_are_those_of_the_training_split(
    tmp_path: Path, digits: DeviceData
) -> None:
    write(tmp_path, digits, augmentation="crop+flip")
    found = events(tmp_path)
    assert sorted(found.Tags()["images"]) == ["pictures/augmented", "pictures/original"]
    (stored,) = found.Images("pictures/original")
    grid = Image.open(io.BytesIO(stored.encoded_image_string))
    assert grid.size == (8 * 16, 2 * 16)
    first = torch.tensor(list(grid.convert("L").crop((0, 0, 16, 16)).tobytes())).view(16, 16)
    config = TrainConfig(data=DataSettings(name="digits", image_size=16))
    assert torch.equal(first, samples(config, digits)["pictures/original"][0, 0].long())


def test_pictures_as_trained_are_the_same_bytes_where_nothing_moves_them(
    digits: DeviceData,
) -> None:
    settings = DataSettings(name="digits", image_size=16, augmentation="flip")
    found = samples(TrainConfig(data=settings), digits)
    kept, seen = found["pictures/original"], found["pictures/augmented"]
    flipped = kept.flip(3)
    for each, other, mirrored in zip(seen, kept, flipped, strict=True):
        assert torch.equal(each, other) or torch.equal(each, mirrored)


@pytest.mark.slow
def test_points_of_a_plane_are_shown_in_one_picture(tmp_path: Path) -> None:
    config = TrainConfig(data=DataSettings(name="spiral", image_size=1))
    points = load_data(config.data, None, Workspace(tmp_path / "storage"), torch.device("cpu"))
    end = End(EndKind.COMPLETED, "all 2 epochs", 0.7)
    write_trial(tmp_path / "run", config, ("lr",), points, end, CURVE, "validation_accuracy")
    found = events(tmp_path / "run")
    assert hyperparameters(tmp_path / "run")["end"] == "completed"
    assert scalars(tmp_path / "run", "validation_accuracy") == [(0, 0.7)]
    assert found.Tags()["images"] == ["pictures/data"]
    (stored,) = found.Images("pictures/data")
    drawn = Image.open(io.BytesIO(stored.encoded_image_string)).convert("RGB")
    assert drawn.tobytes() == plane_picture(points).tobytes()


def test_channels_that_are_no_colours_are_not_shown(digits: DeviceData) -> None:
    four = replace(digits, train_images=digits.train_images[:, :1].expand(-1, 4, -1, -1))
    assert samples(TrainConfig(data=DataSettings(name="digits", image_size=16)), four) == {}


def test_a_trial_without_an_epoch_leaves_its_settings(tmp_path: Path, digits: DeviceData) -> None:
    end = End(EndKind.DIVERGED, "non_finite: nan", None)
    config = TrainConfig(data=DataSettings(name="digits", image_size=16))
    write_trial(tmp_path, config, ("lr",), digits, end, (), "validation_accuracy")
    assert hyperparameters(tmp_path)["end"] == "diverged"
    assert events(tmp_path / "train").Tags()["scalars"] == []


def test_a_figure_that_is_not_finite_is_written_too(tmp_path: Path, digits: DeviceData) -> None:
    end = End(EndKind.PRUNED, "rungs", 0.4)
    broken = replace(CURVE[1], gradient_norm=math.inf)
    config = TrainConfig(data=DataSettings(name="digits", image_size=16))
    write_trial(tmp_path, config, (), digits, end, (CURVE[0], broken), "validation_accuracy")
    assert scalars(tmp_path / "train", "gradient_norm")[1] == (2, math.inf)


def test_a_trial_that_is_written_twice_leaves_one_set_of_files(
    tmp_path: Path, digits: DeviceData
) -> None:
    run = run_folder(tmp_path, "small", 3, "plain")
    assert run == tmp_path / "small" / "trial-00003-plain"
    for _ in range(2):
        write(run, digits)
    assert len([path for path in run.rglob("*") if path.is_file()]) == 3
    assert scalars(run / "train", "loss") == [(1, 1.5), (2, 0.9)]


@pytest.mark.slow
def test_a_worker_writes_every_trial(tmp_path: Path, warm_workspace: Workspace) -> None:
    (tmp_path / "tiny.toml").write_text(STUDY)
    board = tmp_path / "board"
    request = LaunchRequest(
        str(tmp_path / "tiny.toml"),
        profile="full",
        device="cpu",
        workers=1,
        workspace=warm_workspace,
        tensorboard=board,
    )
    prepared = prepare(request)
    work_here(prepared.workers[0])
    runs = sorted(path.name for path in (board / "tiny").iterdir())
    assert runs == ["trial-00000-plain", "trial-00001"]
    for number, name in enumerate(runs):
        recorded = reads.epochs(prepared.store, prepared.study, number)
        stored = scalars(board / "tiny" / name / "validation", "accuracy")
        assert stored == [(e.epoch, round(e.validation_accuracy, 6)) for e in recorded]
        parameters = reads.trial(prepared.store, prepared.study, number).parameters
        found = hyperparameters(board / "tiny" / name)
        assert found["lr"] == pytest.approx(parameters.get("lr", 0.001))


def test_without_the_package_a_launch_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    (tmp_path / "tiny.toml").write_text(STUDY)
    workspace = Workspace(tmp_path / "storage")
    request = LaunchRequest(
        str(tmp_path / "tiny.toml"), workspace=workspace, tensorboard=tmp_path / "board"
    )
    with pytest.raises(UsageError, match=r"pip install 'optuna-study\[tensorboard\]'"):
        prepare(request)
    assert not workspace.root.exists()
    assert not (tmp_path / "board").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "tiny.toml").write_text(STUDY)
    (tmp_path / "board").write_text("a file")
    workspace = Workspace(tmp_path / "storage")
    request = LaunchRequest(
        str(tmp_path / "tiny.toml"), workspace=workspace, tensorboard=tmp_path / "board"
    )
    with pytest.raises(FolderError, match=r"--tensorboard .*: cannot be written; choose another"):
        prepare(request)
    assert not workspace.root.exists()


@pytest.mark.parametrize(
    ("study", "baseline"), [("../up", None), ("small", "/../../up"), ("", None), ("a/b", "plain")]
)
def test_names_of_a_store_cannot_leave_the_folder(
    study: str, baseline: str | None, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a file"):
        run_folder(tmp_path, study, 3, baseline)
