"""A study copied with its files, and gone on with where it went."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from launching import work_here

from optuna_study.actions import copy
from optuna_study.actions.copy import CopyRequest, copy_study
from optuna_study.errors import DiskFullError, FolderError, NotFoundError, UsageError
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.paths import Workspace
from optuna_study.search import write_schedule
from optuna_study.search.stop_signal import StopReason, StopSignal
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, NoTrialReason, TrialState
from optuna_study.store.studies import copying
from optuna_study.store.studies.studies import load_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna_study.launch.task import StudyTask
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


@pytest.fixture(autouse=True)
def _own_warnings() -> Iterator[None]:
    yield
    logging.captureWarnings(False)


@pytest.fixture
def prepared(tmp_path: Path, study_text: str, warm_workspace: Workspace) -> StudyTask:
    text = study_text.replace("trials = 3", "trials = 1").replace("epochs = 10", "epochs = 14")
    (tmp_path / "tiny.toml").write_text(text)
    return prepare(
        LaunchRequest(str(tmp_path / "tiny.toml"), profile="cpu", workspace=warm_workspace)
    )


@contextmanager
def _left_when(stop: StopSignal, ready: Callable[[], bool]) -> Iterator[None]:
    """While the block runs, tell a worker to leave once something is so."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if ready():
                stop.set(StopReason.LEAVING, "stopped by SIGTERM")
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _is_saved(store: Store, study: StudyRecord) -> bool:
    trials = reads.trials(store, study, with_parameters=False)
    return any(t.checkpoint_epoch >= 1 and t.number == 2 for t in trials)


def _curves(store: Store, study: StudyRecord) -> list[Any]:
    return [
        [replace(epoch, seconds=0.0) for epoch in reads.epochs(store, study, number)]
        for number in range(3)
    ]


@pytest.mark.postgres
@pytest.mark.slow
def test_a_copy_goes_on_from_its_checkpoints_to_the_same_curves(
    prepared: StudyTask, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From SQLite to PostgreSQL and back, in other folders: nothing is trained differently."""
    import optuna
    from optuna.artifacts import get_all_artifact_meta

    monkeypatch.setattr(write_schedule, "FIRST_SECONDS", 0.0)  # the first checkpoint comes sooner

    here = prepared.workers[0]
    stop = StopSignal()
    study = prepared.study
    with _left_when(stop, lambda: _is_saved(prepared.store, study)):
        assert work_here(here, stop) == "stopped by SIGTERM"
    given_back = reads.trial(prepared.store, study, 2)
    assert given_back.state is TrialState.WAITING
    assert 1 <= given_back.epochs < 14

    there, back = Workspace(tmp_path / "there"), Workspace(tmp_path / "back")
    lite, server = StoreAddress.of_file(back.database), StoreAddress.parse(postgres_url)
    first = copy_study(CopyRequest("tiny", here.address, prepared.workspace, server, there))
    second = copy_study(CopyRequest("tiny", server, there, lite, back, "again"))
    assert (first.trials, second.trials, first.files) == (3, 3, second.files)
    assert (first.name, second.name) == ("tiny@cpu", "again@cpu")

    orders = (
        here,
        replace(here, address=server, workspace=there.root),
        replace(here, address=lite, workspace=back.root, study="again@cpu"),
    )
    curves = []
    for order in orders:
        assert work_here(order) == NoTrialReason.BUDGET_MET
        store = open_store(order.address)
        assert order.study is not None
        record = load_study(store, order.study)
        last = reads.trial(store, record, 2)
        assert (last.claims, last.resumed_elsewhere) == (2, False)
        log = Workspace(order.workspace).log(record.uuid, order.name).read_text()
        assert f"begins after epoch {given_back.checkpoint_epoch}" in log
        curves.append(_curves(store, record))
        storage = optuna.storages.RDBStorage(order.address.url)
        loaded = optuna.load_study(study_name=order.study, storage=storage)
        for trial in loaded.trials:
            ids = [each.artifact_id for each in get_all_artifact_meta(trial, storage=storage)]
            assert ids
            assert all(Workspace(order.workspace).artifact(each).is_file() for each in ids)
        storage.remove_session()
        storage.engine.dispose()
        store.close()
    assert curves[0] == curves[1] == curves[2]


@pytest.fixture
def finished(prepared: StudyTask) -> StudyTask:
    """A study with a claimed trial and files as workers leave them, though none has run."""
    claim = queue.claim(prepared.store, prepared.study, "me")
    assert isinstance(claim, Claim)
    places, uuid = prepared.workspace, prepared.study.uuid
    for path in (
        places.checkpoint(uuid, 0, None),
        places.kept_model(uuid, 1, None),
        places.log(uuid, "me"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    places.checkpoint(uuid, 0, None).with_name(".trial-00000.pt-ab").write_text("half")
    return prepared


def _request(of: StudyTask, **changes: Any) -> CopyRequest:
    places = of.workspace
    request = CopyRequest("tiny", of.store.address, places, of.store.address, places, "second")
    return replace(request, **changes)


def _files(workspace: Workspace) -> set[str]:
    kept = ("studies.db", "cache", "locks")
    return {
        str(path.relative_to(workspace.root))
        for path in workspace.root.rglob("*")
        if path.is_file() and not str(path.relative_to(workspace.root)).startswith(kept)
    }


@pytest.mark.slow
def test_files_are_copied_under_the_new_uuid_but_those_half_written(finished: StudyTask) -> None:
    done = copy_study(_request(finished))
    assert (done.trials, done.waiting, done.files) == (2, 1, 3)
    copy = load_study(finished.store, "second")
    folder = finished.workspace.study(copy.uuid)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"checkpoints/trial-00000.pt", "models/trial-00001.pt", "logs/me.log"}
    assert finished.workspace.checkpoint(copy.uuid, 0, None).read_text() == "trial-00000.pt"


@pytest.mark.slow
def test_what_cannot_be_copied_leaves_nothing(
    finished: StudyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _files(finished.workspace)
    with pytest.raises(UsageError, match="that is the study itself"):
        copy_study(_request(finished, name=None))
    with pytest.raises(UsageError, match="cannot be the name of a study"):
        copy_study(_request(finished, name="../second"))
    with pytest.raises(NotFoundError, match="no study 'tini'"):
        copy_study(_request(finished, study="tini"))
    with pytest.raises(FolderError, match="no such folder; create it first, or check --to"):
        copy_study(_request(finished, to=StoreAddress.of_file(tmp_path / "mistyped/s.db")))

    def fail(*_: object) -> None:
        raise NotFoundError("it was deleted in the middle")

    monkeypatch.setattr(copying, "copy_rows", fail)
    with pytest.raises(NotFoundError, match="in the middle"):
        copy_study(_request(finished))
    assert _files(finished.workspace) == before
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_files_are_copied_leaves_nothing(
    finished: StudyTask, tmp_path: Path, number: signal.Signals
) -> None:
    places, to = finished.workspace, tmp_path / "there"
    with places.kept_model(finished.study.uuid, 2, None).open("wb") as file:
        file.truncate(20 * 2**30)  # sparse: no space here, and many seconds of copying
    to.mkdir()
    arguments = [
        "copy",
        "tiny",
        "--storage",
        finished.store.address.url,
        "--artifacts",
        str(places.root),
    ]
    arguments += ["--to", f"sqlite:///{to}/studies.db", "--to-artifacts", str(to)]
    process = subprocess.Popen(
        [sys.executable, "-m", "optuna_study", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # the tests may be under nohup
    )
    while not list(to.rglob("trial-00002.pt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert said == f"Error: Interrupted by {number.name}; nothing was copied\n"
    assert process.returncode == 143
    assert _files(Workspace(to)) == set()
    with closing(open_store(f"sqlite:///{to}/studies.db")) as store:
        assert reads.list_studies(store) == []


@pytest.mark.slow
def test_a_signal_does_not_disturb_the_clearing_away_after_an_error(
    finished: StudyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = copy.remove_files

    def interrupted(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        remove(*arguments)

    def fail(*_: object) -> int:
        raise DiskFullError("no space left")

    monkeypatch.setattr(copy, "copy_artifacts", fail)
    monkeypatch.setattr(copy, "remove_files", interrupted)
    to = Workspace(tmp_path / "there")
    with pytest.raises(DiskFullError):
        copy_study(_request(finished, to_workspace=to))
    assert _files(to) == set()


@pytest.mark.slow
def test_an_artifact_that_leads_out_of_the_workspace_is_refused(
    finished: StudyTask, tmp_path: Path
) -> None:
    """Its id comes from the store, which somebody else may have written."""
    import optuna

    (tmp_path / "secret").write_text("s3cret")
    storage = optuna.storages.RDBStorage(finished.store.address.url)
    storage.set_trial_system_attr(2, "artifacts:../../secret", "{}")
    storage.engine.dispose()
    to = Workspace(tmp_path / "there")
    with pytest.raises(UsageError, match=r"'\.\./\.\./secret' cannot be the name of a file"):
        copy_study(_request(finished, to_workspace=to))
    assert not any("s3cret" in path.read_text() for path in to.root.rglob("*") if path.is_file())
