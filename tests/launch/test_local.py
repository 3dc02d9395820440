"""Launches in real processes, with real signals; each trains for a few seconds."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.cli.watching import closing
from optuna_study.config.reasons import Failed
from optuna_study.store.queue import scheduling
from optuna_study.store.reads import reads
from optuna_study.store.reads.aggregates import compared_runs
from optuna_study.store.records import EndKind, StudyState, TrialState
from optuna_study.store.studies.deletion import delete_study
from optuna_study.store.studies.studies import set_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna_study.launch.task import StudyTask, Tick
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord, TrialRecord

pytestmark = pytest.mark.slow


def under_way(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """Running trials that have a checkpoint to go on from and half their epochs to go."""
    return [
        trial
        for trial in reads.trials(store, study, with_parameters=False)
        if trial.state is TrialState.RUNNING and trial.checkpoint_epoch >= 1 and trial.epochs <= 5
    ]


def some_checkpoint(store: Store, study: StudyRecord) -> bool:
    return bool(under_way(store, study))


def states(store: Store, study: StudyRecord) -> list[TrialState]:
    return [trial.state for trial in reads.trials(store, study, with_parameters=False)]


def once(
    what: Callable[[StudyTask, Tick], None], when: Callable[[StudyTask], bool]
) -> Callable[[StudyTask, Tick], None]:
    """Do something at the first tick at which something is so."""
    done: list[bool] = []

    def watch(prepared: StudyTask, tick: Tick) -> None:
        if not done and when(prepared):
            done.append(True)
            what(prepared, tick)

    return watch


def checkpointed(prepared: StudyTask) -> bool:
    return some_checkpoint(prepared.store, prepared.study)


def kill_a_busy_worker(prepared: StudyTask, tick: Tick) -> None:
    owner = under_way(prepared.store, prepared.study)[0].owner
    pid = next(worker.pid for worker in tick.workers if worker.name == owner)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_interrupted_killed_and_resumed_gives_what_an_uninterrupted_launch_gives(
    launch: Callable[..., Any],
    run_here: Callable[..., Any],
    curves: Callable[[Path], dict[int, list[tuple[float, ...]]]],
    patient_text: str,
    tmp_path: Path,
) -> None:
    storm = tmp_path / "storm"
    first = launch(storm, patient_text, under=("nohup",))
    first.until(some_checkpoint)
    os.killpg(first.process.pid, signal.SIGHUP)  # as a terminal does that closes, to everyone
    soon = scheduling.progress(first.look()[0], None) + 3
    first.until(lambda store, _: scheduling.progress(store, None) >= soon)
    os.killpg(first.process.pid, signal.SIGINT)
    code, said = first.wait()
    assert code == 130, said
    assert "SIGINT" in said
    store, study = first.look()
    assert TrialState.RUNNING not in states(store, study)

    terminate = once(lambda *_: os.kill(os.getpid(), signal.SIGTERM), checkpointed)
    second = run_here(storm, patient_text, watch=terminate)
    assert second.code == 143, second.messages
    assert TrialState.RUNNING not in states(store, study)
    returned = [
        t for t in reads.trials(store, study) if t.state is TrialState.WAITING and t.epochs
    ]
    assert returned
    assert all(trial.strikes == 0 for trial in returned)

    third = run_here(storm, patient_text, watch=once(kill_a_busy_worker, checkpointed))
    assert third.code == 0, third.messages
    assert third.task.resumed
    assert any("was killed by SIGKILL, trial " in said for said in third.messages)
    trials = reads.trials(store, study)
    assert len(trials) == 5
    assert all(trial.end is not None for trial in trials)
    assert any(trial.claims > 1 for trial in trials)
    assert not any(trial.resumed_elsewhere for trial in trials)

    calm = run_here(tmp_path / "calm", patient_text)
    assert calm.code == 0, calm.messages
    assert curves(storm) == curves(tmp_path / "calm")
    leaves_models_pictures_notes_and_no_checkpoints(calm.task)


def leaves_models_pictures_notes_and_no_checkpoints(prepared: StudyTask) -> None:
    import optuna
    from optuna.artifacts import get_all_artifact_meta
    from optuna_dashboard._note import get_note_from_system_attrs

    store, study = prepared.store, prepared.study
    folder = prepared.workspace.study(study.uuid)
    assert list((folder / "checkpoints").iterdir()) == []
    kept = sorted(int(path.stem.split("-")[1]) for path in (folder / "models").iterdir())
    searched, hand_chosen = (
        reads.best_few(store, study, most, baselines=baselines)
        for most, baselines in ((3, False), (1, True))
    )
    assert kept == sorted([*searched, *hand_chosen])
    assert {path.stem for path in (folder / "logs").iterdir()} == {
        order.name for order in prepared.workers
    }
    storage = optuna.storages.RDBStorage(store.address.url)
    loaded = optuna.load_study(study_name=study.name, storage=storage)
    attributes = storage.get_study_system_attrs(loaded._study_id)
    for trial in loaded.trials:
        names = {meta.filename for meta in get_all_artifact_meta(trial, storage=storage)}
        assert "config.toml" in names
        assert ("predictions.npz" in names) == (trial.user_attrs["end"] == "completed")
        if "baseline" in trial.user_attrs or trial.number in reads.best_few(store, study, 3):
            assert "losses.npz" in names
        note = get_note_from_system_attrs(attributes, trial._trial_id)["body"]
        assert trial.user_attrs["reason"] in note
    assert "| plain | lr |" in get_note_from_system_attrs(attributes, None)["body"]
    storage.engine.dispose()


def test_a_comparison_trains_each_baseline_on_its_seeds_and_looks_at_the_held_out_pictures(
    run_here: Callable[..., Any], tmp_path: Path
) -> None:
    said = run_here(tmp_path / "storage", only="baselines", seeds=2)
    assert said.code == 0
    store, study = said.task.store, said.task.study
    assert study.name == "tiny@cpu-baselines"
    sides = study.environment["side_counts"]
    assert sides["train"] == sum(study.environment["class_counts"])
    assert sides["test"] > sides["validation"] > 0
    runs = compared_runs(store, study)
    assert [run.baseline for run in runs] == ["plain", "wild"] * 2
    assert [run.end for run in runs] == [EndKind.COMPLETED, EndKind.DIVERGED] * 2
    first, _, second, _ = runs
    assert first.test_accuracy is not None
    assert 0.3 < first.test_accuracy < 1.0
    assert (first.train_accuracy, first.test_accuracy) != (
        second.train_accuracy,
        second.test_accuracy,
    ), "another seed"
    page = closing(store, study)
    assert "The source gives no order." in page
    assert "* A run that was given up without this figure counts as chance" in page


def test_time_over_ends_well_with_trials_given_back(
    run_here: Callable[..., Any], study_text: str, tmp_path: Path
) -> None:
    endless = study_text.replace("epochs = 10", "epochs = 5000")
    said = run_here(tmp_path / "root", endless, workers=1, timeout=2.0, cold=True)
    assert said.code == 0, said.messages
    assert "the 2 s asked for are over: giving back" in said.messages
    assert TrialState.RUNNING not in states(said.task.store, said.task.study)


def test_a_study_stopped_from_elsewhere_ends_its_launch_well(
    run_here: Callable[..., Any], patient_text: str, tmp_path: Path
) -> None:
    def stop(prepared: StudyTask, tick: Tick) -> None:
        set_state(prepared.store, prepared.study, StudyState.STOPPING)

    said = run_here(tmp_path / "root", patient_text, watch=once(stop, checkpointed))
    assert said.code == 0, said.messages
    ends = [trial.end for trial in reads.trials(said.task.store, said.task.study)]
    assert said.messages[-1] == (
        "tiny@cpu is stopped, so its workers end; launching it again lets it go on"
    )
    # Those that ran finished; of the others none began.
    assert 1 <= sum(end is not None for end in ends) < 5
    assert TrialState.RUNNING not in states(said.task.store, said.task.study)


def test_a_study_deleted_under_its_workers_ends_them_with_a_word(
    run_here: Callable[..., Any], patient_text: str, tmp_path: Path
) -> None:
    def delete(prepared: StudyTask, tick: Tick) -> None:
        delete_study(prepared.store, prepared.study)

    endless = patient_text.replace("epochs = 10", "epochs = 500")
    said = run_here(tmp_path / "root", endless, watch=once(delete, checkpointed))
    assert said.code == 4, said.messages
    assert said.messages == [
        f"NotFoundError study 'tiny@cpu' was deleted from {said.task.store.address.url}"
    ]


def test_no_trial_that_completes_is_no_success(
    run_here: Callable[..., Any], study_text: str, tmp_path: Path
) -> None:
    hopeless = study_text.replace("high = 0.01", "high = 90.0").replace("low = 1e-4", "low = 80.0")
    hopeless = hopeless.replace("lr = 0.001}", "lr = 85.0}").replace('outside = ["lr"]', "")
    hopeless = hopeless.replace("lr = 0.001\n", "lr = 80.0\n")
    hopeless = hopeless.replace('"adam"', '"sgd"').replace("trials = 3", "trials = 1")
    said = run_here(tmp_path / "root", hopeless)
    trials = reads.trials(said.task.store, said.task.study)
    assert [trial.end for trial in trials] == [EndKind.DIVERGED] * 3
    assert said.code == 3, said.messages
    assert said.messages[-1].startswith(
        "NothingCompletedError tiny@cpu: 3 trials ended and none completed"
    )


def test_workers_that_cannot_live_end_the_launch(
    run_here: Callable[..., Any], study_text: str, tmp_path: Path
) -> None:
    said = run_here(tmp_path / "root", workers=1, watch=lambda prepared, tick: kill_all(tick))
    assert said.code == 3, said.messages
    assert "workers died again and again" in said.messages[-1]
    assert TrialState.RUNNING not in states(said.task.store, said.task.study)


def kill_all(tick: Tick) -> None:
    for worker in tick.workers:
        if worker.pid is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just died of the last one
                os.kill(worker.pid, signal.SIGKILL)


FRAGILE = """
import torch

class Fragile(torch.nn.Linear):
    def forward(self, images):
        if images.is_meta:  # the check of a launch
            return super().forward(images)
        raise RuntimeError("CUDA error: device-side assert triggered")

def build(settings, *, channels, image_size, classes):
    layer = Fragile if settings.dropout == 0.0 else torch.nn.Linear
    flat = channels * image_size ** 2
    return torch.nn.Sequential(torch.nn.Flatten(), layer(flat, classes))
"""


def test_a_gpu_error_ends_its_trial_and_a_fresh_process_goes_on(
    run_here: Callable[..., Any], study_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fragile.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = study_text.replace(
        'name = "alexnet"\nvariant = "single_tower"\nwidth = 0.05', 'name = "fragile:build"'
    )
    text = text.replace("settings = {lr = 0.001}", "settings = {lr = 0.001, dropout = 0.0}")
    text = text.replace('settings = {lr = 80.0}\noutside = ["lr"]', "settings = {lr = 0.01}")
    text = text.replace("trials = 3", "trials = 1")
    pids: set[int | None] = set()
    said = run_here(
        tmp_path / "root", text, 1, watch=lambda _, tick: pids.update(w.pid for w in tick.workers)
    )
    assert said.code == 0, said.messages
    trials = reads.trials(said.task.store, said.task.study)
    first, second, _ = trials
    assert (first.end, second.end) == (EndKind.FAILED, EndKind.COMPLETED)
    assert isinstance(first.reason, Failed)
    assert "device-side assert" in first.reason.error
    failed = sum(trial.end is EndKind.FAILED for trial in trials)  # the one searched may, too
    assert len(pids - {None}) == 1 + failed
    assert any("a fresh one takes its place" in message for message in said.messages)
