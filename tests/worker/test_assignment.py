"""A worker that serves a whole store: several studies, and those it cannot work on."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from launching import with_baselines_counted, work_here

from optuna_study.errors import DataError, DeviceLostError, OtherVersionError
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.search.stop_signal import StopSignal
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, NoTrialReason, StudyState, TrialState
from optuna_study.store.studies.deletion import delete_study
from optuna_study.store.studies.studies import find_study, set_state
from optuna_study.training.steps import kept
from optuna_study.worker import assignment
from optuna_study.worker.assignment import open_trial_source
from optuna_study.worker.messages import MessageKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna_study.launch.task import StudyTask
    from optuna_study.paths import Workspace
    from optuna_study.worker.assignment import TrialSource
    from optuna_study.worker.messages import Message


@pytest.fixture(autouse=True)
def _own_warnings() -> Iterator[None]:
    yield
    logging.captureWarnings(False)


@pytest.fixture
def launched(
    tmp_path: Path, study_text: str, warm_workspace: Workspace
) -> Callable[..., StudyTask]:
    """Studies of one store, registered and left to whoever comes."""

    def make(name: str, n_trials: int = 3, **changes: Any) -> StudyTask:
        text = study_text.replace("epochs = 10", "epochs = 1")
        (tmp_path / "tiny.toml").write_text(text)
        request = LaunchRequest(
            str(tmp_path / "tiny.toml"), profile="cpu", name=name, n_trials=n_trials, workers=1
        )
        task = prepare(replace(request, workspace=warm_workspace, **changes))
        return with_baselines_counted(task)

    return make


def source_of(prepared: StudyTask, heard: list[str]) -> TrialSource:
    task = replace(prepared.workers[0], study=None, folder=None)

    def hear(message: Message) -> None:
        if message.kind is MessageKind.NOTE:
            heard.append(message.text)

    return open_trial_source(task, hear)


def claim(source: TrialSource) -> tuple[str, int] | NoTrialReason:
    job = source.claim(60.0, StopSignal())
    assert job is not None
    return job if isinstance(job, NoTrialReason) else (job.study.record.name, job.number)


def change(prepared: StudyTask, **values: str) -> None:
    with sqlite3.connect(prepared.workspace.database) as connection:
        for column, value in values.items():
            connection.execute(
                f"UPDATE optuna_study_studies SET {column} = ? WHERE uuid = ?",
                (value, prepared.study.uuid),
            )


@pytest.mark.slow
def test_one_worker_serves_every_study_of_a_store(launched: Callable[..., StudyTask]) -> None:
    prepared = [launched(name) for name in ("one", "two")]
    heard: list[str] = []
    order = replace(prepared[0].workers[0], study=None)
    assert work_here(order, say=heard.append) == NoTrialReason.NOTHING_LEFT
    assert heard == []
    for each in prepared:
        assert reads.counts(each.store, each.study).ended == 3
        log = each.workspace.log(each.study.uuid, order.name).read_text()
        assert [line[24:] for line in log.splitlines() if "claimed" in line] == [
            "INFO trial 0 (plain) claimed",
            "INFO trial 1 (wild) claimed",
            "INFO trial 2 claimed",
        ]
        # Written when its budget was found to be met, though another study had come between.
        study = find_study(each.store, each.study.name)
        assert study is not None
        assert study.importances is None  # three trials are too few
    first = [reads.trial(each.store, each.study, 0).started or 0.0 for each in prepared]
    last = [reads.trial(each.store, each.study, 2).started or 0.0 for each in prepared]
    assert max(first) < min(last)  # they took turns


@pytest.mark.slow
def test_a_worker_keeps_the_pictures_of_two_studies(launched: Callable[..., StudyTask]) -> None:
    prepared = [launched(name) for name in ("one", "two", "three")]
    source = source_of(prepared[0], [])
    for number in (0, 1):
        taken = [claim(source) for _ in range(3)]
        assert taken == [("one@cpu", number), ("two@cpu", number), ("three@cpu", number)]
    source.close()
    # Of three in turn two are kept, so each has to be opened anew when its turn comes.
    assert [opened(each) for each in prepared] == [2, 2, 2]


@pytest.mark.slow
def test_the_pictures_of_two_studies_are_loaded_once(launched: Callable[..., StudyTask]) -> None:
    one, two = launched("one"), launched("two")
    source = source_of(one, [])
    assert [claim(source) for _ in range(4)] == [
        ("one@cpu", 0),
        ("two@cpu", 0),
        ("one@cpu", 1),
        ("two@cpu", 1),
    ]
    source.close()
    assert (opened(one), opened(two)) == (1, 1)


def opened(prepared: StudyTask) -> int:
    """How often the worker has made a place for this study."""
    log = prepared.log(prepared.workers[0]).parent
    return sum(file.read_text().count(" joins ") for file in log.iterdir())


@pytest.mark.slow
def test_a_study_whose_pictures_are_not_here_holds_up_no_other(
    launched: Callable[..., StudyTask],
) -> None:
    elsewhere, here = launched("elsewhere", priority=9), launched("here", n_trials=2)
    change(elsewhere, fingerprint="0123456789abcdef", data_source="/far/away/cats")
    heard: list[str] = []
    source = source_of(here, heard)
    assert [claim(source) for _ in range(3)] == [
        ("here@cpu", 0),
        ("here@cpu", 1),
        NoTrialReason.BUDGET_TAKEN,
    ]
    assert len(heard) == 1
    assert heard[0].startswith(
        "elsewhere@cpu: the pictures it was made with (fingerprint 0123456789ab) are not here: "
        "digits holds others (fingerprint "
    )
    assert heard[0].endswith("; give their folder with --data")
    trials = reads.trials(elsewhere.store, elsewhere.study)
    assert all(trial.state is TrialState.WAITING and not trial.claims for trial in trials)
    source.close()


@pytest.mark.slow
def test_nothing_that_can_be_worked_on_is_told_apart_from_nothing_left(
    launched: Callable[..., StudyTask],
) -> None:
    prepared = launched("elsewhere")
    change(prepared, fingerprint="0123456789abcdef")
    source = source_of(prepared, [])
    assert claim(source) is NoTrialReason.NOT_HERE
    set_state(prepared.store, prepared.study, StudyState.PAUSED)
    assert claim(source) is NoTrialReason.NOTHING_LEFT
    source.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"environment": '{"optuna-study": "0.9.4"}'},
            r"^one@cpu: made by optuna-study 0\.9\.4, this is .*; work on it with "
            r"`pip install 'optuna-study==0\.9\.\*'`, or make a new study with `launch --name`$",
        ),
        (
            {"definition_hash": "0" * 64},
            "its definition reads differently here, so another version of optuna-study made it",
        ),
        ({"definition": "{}"}, "its definition reads differently here"),
    ],
)
def test_what_another_version_made_is_refused(
    launched: Callable[..., StudyTask], changes: dict[str, str], said: str
) -> None:
    prepared = launched("one")
    change(prepared, **changes)
    with pytest.raises(OtherVersionError, match=said) as caught:
        work_here(prepared.workers[0])
    assert caught.value.exit_code == 5
    heard: list[str] = []
    source = source_of(prepared, heard)
    assert claim(source) is NoTrialReason.NOT_HERE
    assert heard == [str(caught.value)]
    source.close()


@pytest.mark.slow
def test_another_patch_or_torch_is_logged_and_recorded(
    launched: Callable[..., StudyTask],
) -> None:
    prepared = launched("one", n_trials=1)
    change(prepared, environment='{"optuna-study": "0.1.99", "torch": "2.0", "device": "cpu"}')
    assert work_here(prepared.workers[0]) == NoTrialReason.BUDGET_MET
    log = prepared.log(prepared.workers[0]).read_text()
    assert "differs from where the study was made: optuna-study was 0.1.99, is " in log
    assert "differs from where the study was made: torch was 2.0, is " in log
    assert "device was" not in log
    [config] = [
        path.read_text()
        for path in prepared.workspace.artifacts.iterdir()
        if b"[model]" in path.read_bytes()
    ]
    assert "optuna-study = " in config


@pytest.mark.slow
def test_memory_of_a_kept_step_goes_back_and_where_it_cannot_a_fresh_process_is_asked_for(
    launched: Callable[..., StudyTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = launched("only")
    given_back: list[object] = []
    monkeypatch.setattr(kept, "_kept", kept._Kept())
    monkeypatch.setattr(assignment, "release_memory", given_back.append)
    source = source_of(prepared, [])
    kept.put(cast("kept.Captured", object()))
    assert claim(source) == ("only@cpu", 0)  # another study's pictures are loaded first
    assert len(given_back) == 1
    source.release_memory()
    assert len(given_back) == 1

    def counts_a_capture(_: object) -> None:
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(assignment, "release_memory", counts_a_capture)
    assert claim(source) == ("only@cpu", 1)
    kept.give_up()
    with pytest.raises(DeviceLostError, match="since a CUDA graph could not be captured"):
        claim(source)
    source.close()


def test_a_deleted_study_is_left_for_others(launched: Callable[..., StudyTask]) -> None:
    gone, stays = launched("gone"), launched("stays")
    source = source_of(gone, [])
    assert claim(source) == ("gone@cpu", 0)
    delete_study(gone.store, gone.study)
    assert [claim(source) for _ in range(2)] == [("stays@cpu", 0), ("stays@cpu", 1)]
    source.close()
    only = open_trial_source(stays.workers[0], print)
    delete_study(stays.store, stays.study)
    assert claim(only) is NoTrialReason.DELETED
    only.close()


@pytest.mark.slow
def test_a_budget_that_is_raised_is_seen(launched: Callable[..., StudyTask]) -> None:
    prepared = launched("one", n_trials=1)
    order = replace(prepared.workers[0], study=None)
    assert work_here(order) == NoTrialReason.NOTHING_LEFT
    source = source_of(prepared, [])
    assert claim(source) is NoTrialReason.NOTHING_LEFT
    launched("one", n_trials=2)
    assert claim(source) == ("one@cpu", 1)
    source.close()


@pytest.mark.slow
def test_a_lost_workers_trial_is_taken_up_though_the_rest_is_taken(
    launched: Callable[..., StudyTask],
) -> None:
    prepared = launched("one", n_trials=1)
    lost = queue.claim(prepared.store, prepared.study, "lost", lease=-1.0)
    assert isinstance(lost, Claim)
    source = source_of(prepared, [])
    assert claim(source) == ("one@cpu", 0)
    source.close()


@pytest.mark.slow
def test_pictures_given_are_looked_at_first(
    launched: Callable[..., StudyTask], tmp_path: Path
) -> None:
    prepared = launched("one", n_trials=1)
    (tmp_path / "others").mkdir()
    order = replace(prepared.workers[0], folder=tmp_path / "others")
    assert work_here(order) == NoTrialReason.BUDGET_MET  # digits are built in
    change(prepared, fingerprint="0123456789abcdef", state="active", budget="2")
    with pytest.raises(DataError, match=r"are not here: .*others.*; digits holds others"):
        work_here(order)
