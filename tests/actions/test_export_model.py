"""The folder that hands a model out, used as its card says: without this package."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from optuna_study.actions.export_model import export_model, require_alone
from optuna_study.config.settings import with_settings
from optuna_study.definition.serialise import from_json
from optuna_study.errors import DataError, NotFoundError, UsageError
from optuna_study.paths import Workspace
from optuna_study.report.document.model_card import ONNX_SNIPPET, SNIPPET
from optuna_study.store.reads import reads
from optuna_study.store.records import Confirmation
from optuna_study.store.studies.studies import set_confirmation
from optuna_study.training import loop
from optuna_study.training.device_data import load_data
from optuna_study.training.model_file import predict, read_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """
title = "Digits"
data = {name = "digits", image_size = 16}
model = {name = "cnn", width = 0.25, normalisation = "lrn"}
train = {epochs = 1, batch_size = 64, threads = 1}
search = {trials = 2}
[space]
lr = {low = 0.001, high = 0.1, log = true}
"""


@pytest.fixture
def kept(store_file: Any, digits_workspace: Workspace, tmp_path: Path) -> Any:
    """A study whose best trial has its untrained model where a worker keeps it."""
    shutil.copytree(digits_workspace.root, tmp_path / "storage")
    workspace = Workspace(tmp_path / "storage")
    stored = store_file(STUDY)
    number = stored.run([0.75], parameters={"lr": 0.01})
    config = with_settings(from_json(stored.study.definition).config, {"lr": 0.01})
    device = torch.device("cpu")
    data = load_data(config.data, None, workspace, device)
    run = loop.prepare(config, data, device)
    save_model(workspace.kept_model(stored.study.uuid, number, 1), run, config, data)
    return stored, workspace


@pytest.mark.slow
def test_the_card_s_lines_load_it_and_it_answers_as_the_model(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    stored, workspace = kept
    folder = tmp_path / "handout"
    files = export_model(stored.store, stored.study, workspace, None, folder)
    assert sorted(path.name for path in files) == sorted(path.name for path in folder.iterdir())
    model = workspace.kept_model(stored.study.uuid, 0, 1)
    weights, ours = load_file(folder / "model.safetensors"), read_model(model).weights
    assert sorted(weights) == sorted(ours)
    assert all(torch.equal(weights[name], ours[name]) for name in ours)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")
    (expected,) = predict(model, [folder / "picture.png"], torch.device("cpu"))
    assert predict(folder, [folder / "picture.png"], torch.device("cpu")) == [expected]
    card = (folder / "README.md").read_text()
    assert f"```python\n{SNIPPET}```" in card
    assert f"```python\n{ONNX_SNIPPET}```" in card
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(SNIPPET + ONNX_SNIPPET, names)
    assert printed.getvalue().split() == [expected.label] * 2
    chances = names["model"](names["pixels"])[0]
    for name, chance in expected.probabilities:
        assert chances[names["classes"].index(name)].item() == pytest.approx(chance, abs=1e-5)
    assert json.loads((folder / "preprocessing.json").read_text())["decoded_side"] == 16
    assert "validation accuracy 75.0 %" in card
    assert "lr = 0.01" in (folder / "config.toml").read_text()
    preprocessing = json.loads((folder / "preprocessing.json").read_text())
    damaged = {
        "preprocessing.json": json.dumps({**preprocessing, "mean": ["a"]}).encode(),
        "classes.json": b'["0"',
        "config.toml": b"[data]\nname = ",
        "model.safetensors": (folder / "model.safetensors").read_bytes()[:-9],
    }
    for name, content in damaged.items():
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with pytest.raises(DataError, match="is damaged"):
            read_model(folder)
        (folder / name).write_bytes(whole)
    (folder / "classes.json").unlink()
    with pytest.raises(NotFoundError, match=r"it lacks classes\.json"):
        read_model(folder)


def test_a_model_that_was_not_kept_here_is_said(stored_study: Any, tmp_path: Path) -> None:
    stored_study.run([0.5])
    workspace = Workspace(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="the model of trial 0 is not here"):
        export_model(stored_study.store, stored_study.study, workspace, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_model_of_a_run_stands_in_for_that_of_the_trial_it_confirms(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, workspace = kept
    for name, value in (("_save_program", lambda *_: None), ("_has_onnx", lambda: False)):
        monkeypatch.setattr(f"optuna_study.actions.export_model.{name}", value)
    stored.run([0.25], parameters={"lr": 0.1})
    set_confirmation(stored.store, stored.study, Confirmation(1, 1))
    run = stored.run([0.5])
    assert reads.trial(stored.store, stored.study, run).confirms == 0
    own, again = (workspace.kept_model(stored.study.uuid, number, 1) for number in (0, run))
    own.rename(again)
    export_model(stored.store, stored.study, workspace, None, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"trial 0 of `small`, trained again as trial {run} on a fresh seed" in card
    assert "In this run: validation accuracy 50.0 %" in card
    seed = reads.trial(stored.store, stored.study, run).seed
    assert f"seed = {seed}\n" in (tmp_path / "out" / "config.toml").read_text()


def test_a_folder_has_a_form_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out -o and -f"):
        require_alone(tmp_path / "best.toml", None)
