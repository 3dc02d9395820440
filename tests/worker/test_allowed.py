"""Functions that a store names, and the worker that was, or was not, allowed to run them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from sys import modules
from typing import TYPE_CHECKING

import pytest
from launching import work_here
from PIL import Image

from optuna_study.cli.main import run
from optuna_study.config.allowed import require_allowed
from optuna_study.definition.allowed import named_modules
from optuna_study.errors import UsageError
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.space.dimensions import Choice
from optuna_study.store.reads import reads
from optuna_study.store.records import EndKind, NoTrialReason

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.launch.task import StudyTask
    from optuna_study.paths import Workspace

MODULE = """
import pathlib
pathlib.Path({mark!r}).touch()
import torch
def build(settings, *, channels, image_size, classes):
    flat = channels * image_size ** 2
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(flat, classes))
def act():
    return torch.nn.ReLU()
"""


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where importing `stranger` leaves a file."""
    mark = tmp_path / "imported"
    (tmp_path / "stranger.py").write_text(MODULE.format(mark=str(mark)))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "stranger", raising=False)
    return mark


@pytest.fixture
def stored(tmp_path: Path, study_text: str, warm_workspace: Workspace, mark: Path) -> StudyTask:
    """A study, registered by somebody, whose model is `stranger`'s."""
    plain = 'name = "alexnet"\nvariant = "single_tower"\nwidth = 0.05\ndropout = 0.1\n'
    text = study_text.replace(plain, 'name = "stranger:build"\n')
    (tmp_path / "tiny.toml").write_text(text.replace("epochs = 10", "epochs = 1"))
    request = LaunchRequest(str(tmp_path / "tiny.toml"), profile="cpu", workspace=warm_workspace)
    task = prepare(replace(request, n_trials=1, detach=True, confirm=False))
    mark.unlink()
    return task


@pytest.mark.slow
@pytest.mark.parametrize("study", [["tiny"], []])
def test_a_worker_imports_nothing_that_a_store_names(
    stored: StudyTask, mark: Path, study: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    place = ["--artifacts", str(stored.workspace.root)]
    assert run(["worker", *study, "--workers", "1", *place]) == 2
    assert "tiny@cpu: names functions of stranger, which may not be run here; give --allow" in (
        " ".join(capfd.readouterr().err.split())
    )
    assert not mark.exists()
    assert reads.counts(stored.store, stored.study).running == 0


@pytest.mark.slow
def test_a_worker_runs_what_it_was_allowed_to(stored: StudyTask, mark: Path) -> None:
    place = ["--artifacts", str(stored.workspace.root)]
    assert run(["worker", "tiny", "--allow", "stranger", "--workers", "1", *place]) == 0
    assert mark.exists()
    assert reads.counts(stored.store, stored.study).ends == {
        EndKind.COMPLETED: 3
    }  # with its baselines


@pytest.mark.slow
def test_a_launch_of_ones_own_file_runs_what_it_names(stored: StudyTask) -> None:
    assert stored.workers[0].allowed == ("stranger",)
    assert work_here(stored.workers[0]) == NoTrialReason.BUDGET_MET


@pytest.mark.slow
def test_a_configuration_and_a_model_run_nothing_that_was_not_allowed(
    mark: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config, picture, out = tmp_path / "config.toml", tmp_path / "grey.png", tmp_path / "out"
    config.write_text(
        "data = {name = 'digits', image_size = 8, subset = 0.2}\n"
        "model = {name = 'stranger:build'}\ntrain = {epochs = 1, threads = 1}\n"
    )
    Image.new("L", (20, 20), 128).save(picture)
    for command in (
        ["train", str(config), "-o", str(out), "--device", "cpu"],
        ["predict", str(out / "model.pt"), str(picture), "--device", "cpu"],
    ):
        modules.pop("stranger", None)
        assert run(command) == 2
        said = capfd.readouterr().err
        assert f"{command[1]}: names functions of stranger, which may not be run here" in said
        assert not mark.exists()
        assert run([*command, "--allow", "stranger"]) == 0, capfd.readouterr().err
        mark.unlink()


@pytest.mark.slow
def test_a_trial_that_a_stranger_has_changed_fails_and_runs_nothing(
    tmp_path: Path, study_text: str, warm_workspace: Workspace, mark: Path
) -> None:
    text = study_text.replace("epochs = 10", "epochs = 1")
    (tmp_path / "tiny.toml").write_text(text)
    request = LaunchRequest(str(tmp_path / "tiny.toml"), profile="cpu", workspace=warm_workspace)
    task = prepare(replace(request, n_trials=2, confirm=False))
    with sqlite3.connect(warm_workspace.database) as connection:
        fixed = json.dumps({"lr": 0.001, "activation": "stranger:act"})
        connection.execute("UPDATE optuna_study_trials SET fixed = ? WHERE number = 1", (fixed,))
    work_here(task.workers[0])
    trial = reads.trial(task.store, task.study, 1)
    assert trial.end is EndKind.FAILED
    assert "names functions of stranger, which may not be run here" in str(trial.reason)
    assert not mark.exists()


def test_all_that_may_come_to_run_is_found(definition: Definition) -> None:
    assert named_modules(definition) == []
    config = replace(
        definition.config,
        data=replace(definition.config.data, name="mine.data:read"),
        model=replace(definition.config.model, name="mine.nets:build", activation="acts:swish"),
        train=replace(definition.config.train, objective="loops:adversarial"),
    )
    dimensions = [
        replace(one, choices=("relu", "others:act"))
        if isinstance(one, Choice) and one.setting == "activation"
        else one
        for one in definition.space.dimensions
    ]
    space = replace(definition.space, dimensions=tuple(dimensions))
    first, *rest = definition.baselines
    baseline = replace(first, settings={"activation": "based:act", "lr": 0.1})
    whole = replace(definition, config=config, space=space, baselines=(baseline, *rest))
    found = named_modules(whole)
    assert found == ["acts", "based", "loops", "mine.data", "mine.nets", "others"]
    require_allowed("s", found, ("acts", "based", "loops", "mine", "others"))
    with pytest.raises(UsageError, match=r"names functions of mine.nets, which"):
        require_allowed("s", found, ("acts", "based", "loops", "mine.data", "min", "others"))
