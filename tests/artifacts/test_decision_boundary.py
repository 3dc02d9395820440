"""Pictures of points of a plane, read back from their PNGs."""

from __future__ import annotations

import dataclasses
import io
import json
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from launching import work_here
from PIL import Image

from optuna_study.artifacts import decision_boundary
from optuna_study.cli.guard import Guard
from optuna_study.cli.serving import address, serve
from optuna_study.config.settings import DataSettings, TrainConfig, with_settings
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.paths import Workspace
from optuna_study.store.reads import reads
from optuna_study.training import evaluation, loop
from optuna_study.training.device_data import load_data

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from optuna_study.store.engine.connection import Store
    from optuna_study.training.device_data import DeviceData
    from optuna_study.training.run import Run

STUDY = """
data = {name = "NAME", image_size = SIZE}
model = {name = "mlp", variant = "50"}
train = {epochs = 2, batch_size = 256, threads = 1, optimizer = "adam", lr = 0.01}
search = {trials = 2, pruner = "none"}
[space]
lr = {low = 0.001, high = 0.1, log = true}
[[baselines]]
name = "plain"
"""


@pytest.fixture(scope="module")
def spiral(shared_workspace: Workspace) -> DeviceData:
    settings = DataSettings(name="spiral", image_size=1)
    return load_data(settings, None, shared_workspace, torch.device("cpu"))


@pytest.fixture(scope="module")
def trained(spiral: DeviceData) -> Run:
    """A small net that has seen the points a few times."""
    changes: dict[str, Any] = {
        "epochs": 6,
        "batch_size": 64,
        "optimizer": "adam",
        "lr": 0.01,
        "dropout": 0.0,
    }
    config = with_settings(
        TrainConfig(data=DataSettings(name="spiral", image_size=1)),
        {"variant": "50", "threads": 1, **changes},
    )
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, name="mlp"))
    run = loop.prepare(config, spiral, torch.device("cpu"))
    list(loop.epochs(run))
    return run


def without_points(data: DeviceData) -> DeviceData:
    images, labels = data.train_images[:0], data.train_labels[:0]
    return dataclasses.replace(
        data,
        train_images=images,
        train_labels=labels,
        validation_images=images,
        validation_labels=labels,
    )


def seen(png: bytes) -> NDArray[np.float64]:
    """The plane of a picture (256, 256, 3), its first row the lowest y, as colours from 0 to 1."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) / 255
    part = pixels[
        decision_boundary.TOP : decision_boundary.TOP + decision_boundary.SIDE,
        decision_boundary.LEFT : decision_boundary.LEFT + decision_boundary.SIDE,
    ]
    squares = part.reshape(decision_boundary.STEPS, 2, decision_boundary.STEPS, 2, 3)
    inner = squares[2:-2, :, 2:-2]  # the ticks touch the border
    assert (inner == inner[:, :1, :, :1]).all()
    return squares[::-1, 0, :, 0]


def nearest_class(colours: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The class of each place by the direction in which its colour leaves white."""
    tints = 1 - decision_boundary.class_colours(count)
    tints = tints / np.linalg.norm(tints, axis=1, keepdims=True)
    nearest: NDArray[np.int64] = ((1 - colours) @ tints.T).argmax(axis=-1)
    return nearest


@pytest.mark.slow
def test_the_classes_drawn_are_the_models_answers(trained: Run, spiral: DeviceData) -> None:
    images = decision_boundary.plane_points(torch.device("cpu"))
    chances = evaluation.predict_proba(trained.model, trained.config, trained.data, images).numpy()
    picture = decision_boundary.boundary_picture("plain", without_points(spiral), chances)
    drawn = nearest_class(seen(picture), 3)
    trained.model.eval()
    for y in range(4, 252, 17):
        for x in range(4, 252, 17):
            point = (torch.tensor([[x, y]]) / 255 - spiral.mean) / spiral.std
            with torch.no_grad():
                answer = trained.model(point.view(1, 2, 1, 1)).argmax().item()
            assert drawn[y, x] == answer, (x, y)
    assert len(set(drawn.flatten().tolist())) == 3


def test_an_area_is_fainter_where_the_model_is_unsure() -> None:
    chances = np.full((65536, 2), 0.5, dtype=np.float32)
    chances[:256] = (1.0, 0.0)
    colours = decision_boundary.colour_areas(chances)
    whiteness = colours.min(axis=2)
    assert (whiteness[0] < whiteness[1]).all()
    assert (whiteness < 1).all()


def test_points_lie_where_their_coordinates_say(spiral: DeviceData) -> None:
    one = dataclasses.replace(
        without_points(spiral),
        train_images=torch.tensor([[30, 200]], dtype=torch.uint8).view(1, 2, 1, 1),
        train_labels=torch.tensor([1]),
    )
    png = decision_boundary.data_picture("one", one)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.float64) / 255
    part = pixels[
        decision_boundary.TOP : decision_boundary.TOP + decision_boundary.SIDE,
        decision_boundary.LEFT : decision_boundary.LEFT + decision_boundary.SIDE,
    ]
    inner = part[8:-8, 8:-8]  # the ticks touch the border
    rows, columns = np.nonzero((inner < 0.9).any(axis=2))
    row, column = rows.mean() + 8, columns.mean() + 8
    assert (column / 2, 255.5 - row / 2) == pytest.approx((30, 200), abs=1)
    centre = part[round(row), round(column)]
    assert centre == pytest.approx(decision_boundary.class_colours(3)[1], abs=0.02)


def test_points_held_out_for_the_test_are_not_shown(spiral: DeviceData) -> None:
    shown = decision_boundary.data_picture("data", spiral)
    other = dataclasses.replace(
        spiral, test_images=spiral.test_images[:0], test_labels=spiral.test_labels[:0]
    )
    assert decision_boundary.data_picture("data", other) == shown
    assert decision_boundary.data_picture("data", without_points(spiral)) != shown


def test_many_classes_have_colours_of_their_own() -> None:
    for count in (2, 10, 30):
        assert (
            len({tuple(colour) for colour in decision_boundary.class_colours(count).tolist()})
            == count
        )


def test_points_are_told_by_their_shape_alone(spiral: DeviceData) -> None:
    assert decision_boundary.is_plane(dataclasses.replace(spiral, fingerprint="other"))
    wide = dataclasses.replace(spiral, train_images=spiral.train_images.expand(-1, 2, 2, 2))
    assert not decision_boundary.is_plane(wide)
    assert not decision_boundary.is_plane(
        dataclasses.replace(spiral, train_images=torch.zeros(4, 3, 1, 1))
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "shown"), [("spiral", 1, True), ("digits", 8, False)])
def test_the_dashboard_lists_them_where_the_data_are_points(
    tmp_path: Path, name: str, size: int, shown: bool
) -> None:
    (tmp_path / "tiny.toml").write_text(STUDY.replace("NAME", name).replace("SIZE", str(size)))
    workspace = Workspace(tmp_path / "storage")
    request = LaunchRequest(
        str(tmp_path / "tiny.toml"), profile="full", device="cpu", workers=1, workspace=workspace
    )
    prepared = prepare(request)
    work_here(prepared.workers[0])
    ended = reads.trials(prepared.store, prepared.study)
    assert [trial.number for trial in ended] == [0, 1]
    listed = _listed(prepared.store, prepared.study.study_id, workspace)
    assert listed["study"] == (["data.png"] if shown else [])
    expected = ["config.toml", "confusion.png", "curve.png"]
    for number in (0, 1):
        assert listed[number] == sorted([*expected, *(["boundary.png"] if shown else [])])


def _listed(store: Store, study_id: int, workspace: Workspace) -> dict[int | str, list[str]]:
    """The names of all artifacts, as our dashboard's server tells them."""
    with serve(store, workspace, "127.0.0.1", 0, guard=Guard) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with urllib.request.urlopen(f"{address(server)}api/studies/{study_id}") as response:
            answer = json.load(response)

    def names(artifacts: list[dict[str, str]]) -> list[str]:
        return sorted(each["filename"] for each in artifacts)

    found: dict[int | str, list[str]] = {"study": names(answer["artifacts"])}
    return found | {trial["number"]: names(trial["artifacts"]) for trial in answer["trials"]}
