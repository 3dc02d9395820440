"""Features of a frozen backbone: those of the whole model, computed once, shared and checked."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from optuna_study.config.reader import Node, Problems, read_config
from optuna_study.paths import Workspace
from optuna_study.search.resume import CheckpointedRun
from optuna_study.training import loop
from optuna_study.training.backbone import features
from optuna_study.training.backbone.timm_models import own_scale
from optuna_study.training.device_data import DeviceData, load_data, to_model_input, view
from optuna_study.training.model_file import load_network, read_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.config.settings import TrainConfig

CPU = torch.device("cpu")
pytestmark = pytest.mark.slow  # the first imports timm, and computes features


def head_config(**data: object) -> TrainConfig:
    raw = {
        "data": {"name": "rendered", "image_size": 32, "picture_limit": 40, **data},
        "model": {"name": "timm:tf_efficientnet_lite0", "train_layers": "head", "dropout": 0.2},
        "train": {
            "threads": 1,
            "batch_size": 8,
            "epochs": 6,
            "optimizer": "adamw",
            "lr": 0.01,
        },
    }
    return read_config(Node(raw, "", Problems()))


@pytest.fixture
def data(shared_workspace: Workspace) -> DeviceData:
    return load_data(head_config().data, None, shared_workspace, CPU)


def test_a_head_on_features_is_the_whole_models(data: DeviceData, tmp_path: Path) -> None:
    run = loop.prepare(head_config(), data, CPU)
    results = list(loop.epochs(run))
    assert results[-1].train_loss < results[0].train_loss
    whole = run.whole_model()
    assert sum(each.numel() for each in run.model.parameters()) == 1281 * len(data.classes)
    assert run.features is not None
    with torch.inference_mode():
        seen = to_model_input(run.data.validation_images, run.data)
        own = whole.forward_head(whole.forward_features(seen), pre_logits=True)  # type: ignore[operator]
        torch.testing.assert_close(run.features.validation, own, rtol=1e-4, atol=1e-4)
        right = (whole(seen).argmax(1) == data.validation_labels).float().mean().item()
    assert right == pytest.approx(results[-1].validation_accuracy, abs=1.5 / len(seen))
    assert run.test().confusion.sum() == len(data.test_labels)
    save_model(tmp_path / "model.pt", run, run.config, data)
    network = load_network(read_model(tmp_path / "model.pt"), CPU)
    with torch.inference_mode():
        torch.testing.assert_close(network(seen[:4]), whole(seen[:4]))


def test_a_head_answers_for_validation_pictures_without_its_network(
    data: DeviceData, tmp_path: Path
) -> None:
    training = CheckpointedRun(head_config(), data, CPU, tmp_path / "x.pt", {}, threading.Event())
    list(training.epochs())
    found = training.validation_proba(5)
    assert "_backbone" not in vars(training.run), "the whole network was built"
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    asked = training.predict_proba(training.run.data.validation_images[:5])
    assert found == pytest.approx(asked, abs=1e-4)


def test_features_are_computed_once_and_again_where_they_are_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace = head_config(name="digits"), Workspace(tmp_path)  # nobody else reads it
    data = load_data(config.data, None, workspace, CPU)
    first = features.open_features(config, data)
    training, validation = first.training[0].clone(), first.validation.clone()
    computed: list[int] = []
    original = features._computed

    def counting(*arguments: object) -> object:
        computed.append(1)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(features, "_computed", counting)
    told: list[tuple[int, int]] = []
    again = features.open_features(config, data, lambda *both: told.append(both))
    assert computed == []
    assert told[-1] == (len(data.validation_labels) + 40, len(data.validation_labels) + 40)
    assert again.validation.equal(validation)
    entries = list(workspace.cache("x").parent.glob("features-*/features.npy"))
    for entry in entries:
        content = bytearray(entry.read_bytes())
        content[-2] ^= 1
        entry.write_bytes(content)
    mended = features.open_features(config, data)
    assert computed == [1, 1]
    assert mended.training[0].equal(training)
    assert mended.validation.equal(validation)


def test_views_are_the_picture_and_changed_ones_by_turns(data: DeviceData) -> None:
    plain = features.open_features(head_config(views=3), data)
    assert len(plain.training) == 1  # nothing changes the pictures
    run = loop.prepare(head_config(views=2, augmentation="crop+flip"), data, CPU)
    assert run.features is not None
    first, second = run.features.training
    assert first.equal(plain.training[0])
    assert not second.equal(first)
    pictures = torch.arange(8)
    seen = [run.training_input(pictures, torch.Generator())]
    run.epoch = 1
    seen.append(run.training_input(pictures, torch.Generator()))
    assert seen[0].equal(first[:8])
    assert seen[1].equal(second[:8])
    resized = head_config(views=2, augmentation="resized_crop+flip", training_size=24)
    fitted = features.open_features(features.fitting(resized), data)
    assert [len(fitted.training), len(features.open_features(resized, data).training)] == [1, 2]


def test_a_head_may_begin_with_zeros(data: DeviceData) -> None:
    config = head_config()
    model = replace(config.model, train_layers="half", head_weights="zeros", dropout=0.0)
    run = loop.prepare(replace(config, model=model), data, CPU)
    with torch.inference_mode():
        seen = to_model_input(run.data.validation_images[:4], run.data)
        assert not run.model.eval()(seen).any(), "no class goes before another"
    moved = next(iter(loop.epochs(run)))
    assert moved.train_loss < 3


def test_nearest_neighbours_are_scikit_learns(data: DeviceData) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    config = head_config()
    data = view(data, config.data, own_scale(config))
    found = features.open_features(config, data)
    theirs = KNeighborsClassifier(5, metric="cosine", weights=lambda distances: 1 - distances)
    theirs.fit(found.training[0].numpy(), data.train_labels.numpy())
    expected = theirs.score(found.validation.numpy(), data.validation_labels.numpy())
    assert features.nearest_neighbours(found, data) == pytest.approx(expected)
    assert expected > 1.5 / len(data.classes)


def test_a_head_may_begin_with_a_logistic_regression_on_the_features(data: DeviceData) -> None:
    from sklearn.linear_model import LogisticRegression

    config = head_config()
    model = replace(config.model, train_layers="half", head_weights="fitted", dropout=0.0)
    run = loop.prepare(replace(config, model=model), data, CPU)
    found = features.open_features(config, data)
    known, labels = found.training[0].numpy(), run.data.train_labels.numpy()
    decay = features.FITTED_DECAY
    theirs = LogisticRegression(C=1 / (2 * decay * len(known)), max_iter=1000, tol=1e-6)
    expected = theirs.fit(known, labels).predict_proba(found.validation.numpy())
    with torch.inference_mode():
        seen = to_model_input(run.data.validation_images, run.data)
        answers = run.model.eval()(seen).softmax(1).numpy()
    assert answers[:, theirs.classes_] == pytest.approx(expected, abs=0.02)
