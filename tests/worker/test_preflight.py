"""Where a study's pictures are found on a machine that did not launch it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from optuna_study.config.reader import Node, Problems, read_config
from optuna_study.config.settings import with_settings
from optuna_study.data.load import open_pictures
from optuna_study.definition.serialise import from_json
from optuna_study.errors import DataError, UsageError
from optuna_study.training.backbone import features
from optuna_study.worker.preflight import compute_features, find_pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.store.records import StudyRecord


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder of two classes; another seed is other pictures."""

    def make(name: str, seed: int = 0) -> Path:
        random = np.random.default_rng(seed)
        for label in ("cat", "dog"):
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(8):
                pixels = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / label / f"{number}.png")
        return tmp_path / name

    return make


@pytest.fixture
def definition(stored_study: Any) -> Definition:
    """Of a study of a folder: no data set of its name is built in."""
    found = from_json(stored_study.study.definition)
    data = replace(found.config.data, name="folder")
    return replace(found, config=replace(found.config, data=data))


@pytest.fixture
def study(
    stored_study: Any, definition: Definition, folder: Callable[..., Path], workspace: Workspace
) -> StudyRecord:
    """Made from a folder that lies where the study says."""
    place = folder("own")
    fingerprint = open_pictures(definition.config.data, place, workspace).fingerprint
    study: StudyRecord = stored_study.study
    return replace(study, fingerprint=fingerprint, data_source=str(place))


def test_the_studys_own_folder_is_found(
    study: StudyRecord, definition: Definition, workspace: Workspace, tmp_path: Path
) -> None:
    assert find_pictures(study, definition, None, workspace) == tmp_path / "own"


def test_the_folder_given_comes_first_if_it_holds_the_same(
    study: StudyRecord,
    definition: Definition,
    workspace: Workspace,
    folder: Callable[..., Path],
    tmp_path: Path,
) -> None:
    (tmp_path / "own").rename(tmp_path / "moved")
    assert find_pictures(study, definition, tmp_path / "moved", workspace) == tmp_path / "moved"
    folder("own")
    assert find_pictures(study, definition, folder("other", 1), workspace) == tmp_path / "own"


def test_other_pictures_are_refused_by_their_fingerprint(
    study: StudyRecord,
    definition: Definition,
    workspace: Workspace,
    folder: Callable[..., Path],
    tmp_path: Path,
) -> None:
    (tmp_path / "own").rename(tmp_path / "away")
    other = folder("other", 1)
    with pytest.raises(DataError) as caught:
        find_pictures(study, definition, other, workspace)
    theirs = open_pictures(definition.config.data, other, workspace).fingerprint
    assert str(caught.value) == (
        f"small: the pictures it was made with (fingerprint {study.fingerprint[:12]}) are not "
        f"here: {other} holds others (fingerprint {theirs[:12]}); give their folder with --data"
    )


def test_a_relative_folder_of_the_study_file_is_looked_for_here(
    study: StudyRecord,
    definition: Definition,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = replace(study, data_source="/another/machine/own")
    with pytest.raises(DataError, match="neither /another/machine/own nor 'folder' is here"):
        find_pictures(elsewhere, definition, None, workspace)
    monkeypatch.chdir(tmp_path)
    relative = replace(definition, folder="own")
    assert find_pictures(elsewhere, relative, None, workspace) == tmp_path / "own"


@pytest.mark.slow
def test_a_data_set_is_found_by_its_name(stored_study: Any, shared_workspace: Workspace) -> None:
    definition = from_json(stored_study.study.definition)
    fingerprint = open_pictures(definition.config.data, None, shared_workspace).fingerprint
    study = replace(stored_study.study, fingerprint=fingerprint, data_source="/far/away")
    assert find_pictures(study, definition, None, shared_workspace) is None


def test_what_can_be_fetched_is_named(
    study: StudyRecord, definition: Definition, workspace: Workspace
) -> None:
    data = replace(definition.config.data, name="pokemon")
    pokemon = replace(definition, config=replace(definition.config, data=data))
    elsewhere = replace(study, data_source="pokemon")
    with pytest.raises(DataError, match=r"with --data, or `optuna-study data fetch pokemon`$"):
        find_pictures(elsewhere, pokemon, None, workspace)


@pytest.mark.slow
def test_features_that_a_head_is_fitted_to_are_there_before_any_trial(
    shared_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = {
        "data": {"name": "rendered", "image_size": 32, "picture_limit": 24},
        "model": {"name": "timm:tf_efficientnet_lite0", "train_layers": "half"},
        "train": {"threads": 1},
    }
    drawn = read_config(Node(raw, "", Problems()))
    fitted = with_settings(drawn, {"head_weights": "fitted"})
    asked = None, shared_workspace, torch.device("cpu")
    assert compute_features([drawn], *asked) is None
    assert compute_features([drawn, fitted], *asked) is not None

    # As of a network whose answers do not follow from its last layer alone.
    monkeypatch.setattr(torch, "allclose", lambda *_, **__: False)
    monkeypatch.setattr(features, "FEATURES_VERSION", -1)
    with pytest.raises(UsageError, match=r"head_weights 'fitted': the answers of timm:tf_eff"):
        compute_features([fitted], *asked)
