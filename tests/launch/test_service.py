"""The commands of the service in processes of their own, as on several machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from optuna_study.cli.main import run
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.paths import Workspace
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store
from optuna_study.store.reads import reads
from optuna_study.store.records import StudyState, TrialState
from optuna_study.store.studies.studies import load_study, set_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna_study.store.engine.connection import Store

pytestmark = pytest.mark.slow


@dataclass
class Shell:
    """A folder in which commands run, with a store that only the environment names."""

    folder: Path
    url: str
    capfd: pytest.CaptureFixture[str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        self.folder.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "optuna_study", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=os.environ | {"OPTUNA_STORAGE": self.url},
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command in this process, whose fork server all tests share."""
        self.capfd.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("OPTUNA_STORAGE", self.url)
            code = run(arguments)
        return code, *self.capfd.readouterr()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=150)
    return process.returncode, out, err


@pytest.fixture
def shell(
    tmp_path: Path,
    study_text: str,
    warm: Callable[[Path], Workspace],
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Shell]]:
    """A machine that launched before, with the study file in a folder, and the URL of a store."""
    made: list[Shell] = []

    def make(name: str, url: str, epochs: int = 2) -> Shell:
        made.append(Shell(tmp_path / name, url, capfd))
        folder = tmp_path / name / "studies"
        folder.mkdir(parents=True)
        warm(tmp_path / name / "storage")
        (folder / "tiny.toml").write_text(study_text.replace("epochs = 10", f"epochs = {epochs}"))
        return made[-1]

    yield make
    for process in [each for one in made for each in one.started if each.poll() is None]:
        process.kill()
        process.wait()


def until(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 100
    while not ready():
        assert time.monotonic() < deadline, "not so after 100 s"
        time.sleep(0.1)


def states(store: Store, name: str) -> list[TrialState]:
    return [trial.state for trial in reads.trials(store, load_study(store, name))]


@pytest.mark.postgres
def test_a_worker_joins_from_elsewhere_with_nothing_but_the_url(
    shell: Callable[..., Shell], postgres_url: str, tmp_path: Path
) -> None:
    here = shell("here", postgres_url)
    there = replace(here, folder=tmp_path / "there")
    code, out, err = here.run("launch", "tiny", "--profile", "cpu", "--detach")
    assert (code, out) == (0, "tiny@cpu\n"), err
    assert err.splitlines()[-1] == "optuna-study worker tiny@cpu"
    store = open_store(postgres_url)
    assert states(store, "tiny@cpu") == [TrialState.WAITING] * 2

    worker = there.start("worker", "tiny", "--workers", "2")
    watcher = here.start("watch", "tiny")
    code, out, err = ended(worker)
    assert code == 0, err
    assert "tiny@cpu goes on: 0 of 5 trials ended" in err
    assert "5 of 5 trials ended" in out
    study = load_study(store, "tiny@cpu")
    assert reads.counts(store, study).ended == 5
    assert ended(watcher)[:2] == (0, out)  # the same page, elsewhere
    workspace = Workspace(there.folder / "storage")
    assert len(list((workspace.study(study.uuid) / "logs").glob("*.log"))) == 2
    assert not (here.folder / "storage" / "studies").exists()
    store.close()


def test_two_launches_at_once_are_one_study_and_one_budget(
    shell: Callable[..., Shell], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    machine = shell("here", url)
    options = ("--profile", "cpu", "--workers", "2", "--n-trials", "3")
    running = [machine.start("launch", "tiny", *options) for _ in range(2)]
    said = [ended(each) for each in running]
    assert [code for code, _, _ in said] == [0, 0], said
    store = open_store(url)
    [study] = reads.list_studies(store)
    assert (study.name, study.ended, study.running, study.waiting) == ("tiny@cpu", 5, 0, 0)
    trials = reads.trials(store, load_study(store, "tiny@cpu"))
    assert [trial.number for trial in trials] == list(range(5))
    assert [trial.baseline for trial in trials] == ["plain", "wild", *[None] * 3]
    assert {trial.claims for trial in trials} == {1}
    store.close()


def test_a_worker_for_ever_waits_obeys_and_gives_back_at_a_signal(
    shell: Callable[..., Shell], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    machine = shell("here", url, epochs=500)
    request = LaunchRequest(str(machine.folder / "studies" / "tiny.toml"), profile="cpu")
    address = StoreAddress.parse(url)
    prepared = prepare(
        replace(request, storage=address, workspace=Workspace(machine.folder / "storage"))
    )
    store, study = prepared.store, prepared.study
    set_state(store, study, StudyState.PAUSED)
    worker = machine.start("worker", "--forever", "--workers", "1")
    time.sleep(1)
    assert worker.poll() is None
    assert states(store, study.name) == [TrialState.WAITING] * 2
    assert machine.run("resume", "tiny")[0] == 0
    until(lambda: reads.trial(store, study, 0).checkpoint_epoch)
    worker.send_signal(signal.SIGTERM)
    code, out, err = ended(worker)
    assert (code, out) == (143, "")
    assert "Interrupted by SIGTERM; running trials were given back" in err
    trial = reads.trial(store, study, 0)
    assert (trial.state, trial.strikes) == (TrialState.WAITING, 0)
    store.close()
