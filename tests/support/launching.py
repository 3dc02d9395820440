from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.errors import OptunaStudyError
from optuna_study.launch.local import ThisMachine
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.launch.supervise import TICK, WorkerPool
from optuna_study.paths import Workspace
from optuna_study.search.stop_signal import StopSignal
from optuna_study.store.engine.open import open_store
from optuna_study.store.reads import reads
from optuna_study.store.schema import own_studies
from optuna_study.store.studies.studies import find_study
from optuna_study.worker.messages import MessageKind, rebuilt
from optuna_study.worker.process import work

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from optuna_study.definition.model import Definition
    from optuna_study.launch.backend import Backend
    from optuna_study.launch.task import AnyTask, StudyTask, Tick
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord
    from optuna_study.worker.messages import Message, WorkerTask

STUDY = """
title = "Digits, small enough for a test"
source = "tests"
[data]
name = "digits"
image_size = 16
subset = 0.2
[model]
name = "alexnet"
variant = "single_tower"
width = 0.05
dropout = 0.1
[train]
epochs = 10
batch_size = 64
optimizer = "adam"
lr = 0.001
threads = 1
[search]
trials = 3
sampler = "random"
confirm = {top = 0}
pruner = "none"
[space]
activation = ["relu", "tanh"]
lr = {low = 1e-4, high = 0.01, log = true}
dropout = {low = 0.0, high = 0.5, step = 0.1}
[[baselines]]
name = "plain"
group = "lr"
settings = {lr = 0.001}
[[baselines]]
name = "wild"
group = "lr"
settings = {lr = 80.0}
outside = ["lr"]
"""

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

# The same with time to do something to a trial under way: see tests/benchmarks/patient.py.
PATIENT = STUDY.replace(
    'name = "alexnet"\nvariant = "single_tower"\nwidth = 0.05', 'name = "patient:alexnet"'
)

RUNNER = """
import sys
from pathlib import Path
from optuna_study.errors import OptunaStudyError
from optuna_study.paths import Workspace
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.launch.local import ThisMachine
from optuna_study.launch.supervise import WorkerPool
study, root, workers, timeout = sys.argv[1:]
try:
    task = prepare(
        LaunchRequest(
            study, profile="cpu", workspace=Workspace(Path(root)), workers=int(workers),
            timeout=float(timeout) if timeout else None,
        )
    )
    with WorkerPool(task, ThisMachine()) as pool:
        for tick in pool.ticks():
            for message in tick.messages:
                print(message, flush=True)
except OptunaStudyError as error:
    print(type(error).__name__, error)
    sys.exit(error.exit_code)
assert "torch" not in sys.modules, "the launching process imported torch"
"""


def run_ticks(task: AnyTask, backend: Backend, every: float = TICK) -> Generator[Tick]:
    """The ticks of a task's workers, which are started with the first."""
    with WorkerPool(task, backend) as pool:
        yield from pool.ticks(every)


def with_baselines_counted(task: StudyTask) -> StudyTask:
    """The task with a budget that counts baselines, as a study made before has it."""
    with task.store.write() as connection:
        its = own_studies.c.uuid == task.study.uuid
        connection.execute(update(own_studies).where(its).values(beside=0))
    study = find_study(task.store, task.study.name)
    assert study is not None
    return replace(task, study=study)


def work_here(
    task: WorkerTask,
    stop: StopSignal | None = None,
    say: Callable[[str], None] = print,
) -> str:
    """Be a worker in this process; why it left. `say` gets its sentences for people.

    Raises:
        OptunaStudyError: what it says that it ran into.
    """

    def hear(message: Message) -> None:
        if message.kind is MessageKind.NOTE:
            say(message.text)

    last = work(task, stop or StopSignal(), hear)
    if last.kind is MessageKind.ERROR:
        raise rebuilt(last)
    return last.text


@dataclass
class Launched:
    """A launch in processes of its own."""

    process: subprocess.Popen[str]
    root: Path

    def wait(self, seconds: float = 150.0) -> tuple[int, str]:
        """Its exit code and what it said, once it is over."""
        output, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, output

    def until(self, ready: Callable[[Store, StudyRecord], bool], seconds: float = 100.0) -> None:
        """Wait until something is so in its store."""
        deadline = time.monotonic() + seconds
        database = self.root / "studies.db"
        found = None
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.wait()
            if found is None and database.is_file():
                found = self.look()
            if found is not None and ready(*found):
                return
            time.sleep(0.05)
        raise AssertionError(f"not so after {seconds:g} s")

    def look(self) -> tuple[Store, StudyRecord] | None:
        """Its store and study, once there."""
        try:
            store = open_store(f"sqlite:///{self.root / 'studies.db'}")
            study = find_study(store, "tiny@cpu")
        except Exception:  # noqa: BLE001 - it is just being made
            return None
        return None if study is None else (store, study)


@pytest.fixture
def warm(digits_workspace: Workspace, sqlite_template: Path) -> Callable[[Path], Workspace]:
    """Make a folder, where there is none, the workspace of a machine that launched before.

    It holds the decoded digits and an empty store. Without the pictures each launch forks a
    process that imports scikit-learn, which takes seconds.
    """

    def make(root: Path) -> Workspace:
        workspace = Workspace(root)
        if not root.exists():
            pictures = digits_workspace.cache("x").parent
            shutil.copytree(pictures, workspace.cache("x").parent)
            shutil.copy(sqlite_template, workspace.database)
        return workspace

    return make


@pytest.fixture
def warm_workspace(tmp_path: Path, warm: Callable[[Path], Workspace]) -> Workspace:
    """The workspace of a machine that launched before."""
    return warm(tmp_path / "storage")


@pytest.fixture
def launch(tmp_path: Path, warm: Callable[[Path], Workspace]) -> Iterator[Callable[..., Launched]]:
    running: list[subprocess.Popen[str]] = []

    def start(
        root: Path,
        text: str = STUDY,
        workers: int = 2,
        timeout: str = "",
        under: tuple[str, ...] = (),
    ) -> Launched:
        study = tmp_path / "tiny.toml"
        study.write_text(text)
        warm(root)
        paths = (os.environ.get("PYTHONPATH"), str(BENCHMARKS))
        process = subprocess.Popen(
            [*under, sys.executable, "-c", RUNNER, str(study), str(root), str(workers), timeout],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            start_new_session=True,
        )
        running.append(process)
        return Launched(process, root)

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass
class Said:
    """What a launch in this process came to."""

    code: int
    messages: list[str]
    task: StudyTask


@pytest.fixture
def run_here(tmp_path: Path, warm: Callable[[Path], Workspace]) -> Callable[..., Said]:
    """Launch in this process, whose fork server all tests share: each start takes a moment."""

    def run(
        root: Path,
        text: str = STUDY,
        workers: int = 2,
        timeout: float | None = None,
        watch: Callable[[StudyTask, Tick], None] = lambda task, tick: None,
        cold: bool = False,
        **options: Any,
    ) -> Said:
        file = tmp_path / "tiny.toml"
        file.write_text(text)
        request = LaunchRequest(
            str(file),
            profile="cpu",
            workspace=Workspace(root) if cold else warm(root),
            workers=workers,
            timeout=timeout,
            **options,
        )
        said = Said(0, [], prepare(request))
        try:
            for tick in run_ticks(said.task, ThisMachine(), every=0.15):
                said.messages += tick.messages
                watch(said.task, tick)
        except OptunaStudyError as error:
            said.code = error.exit_code
            said.messages.append(f"{type(error).__name__} {error}")
        return said

    return run


@pytest.fixture
def study_text() -> str:
    return STUDY


@pytest.fixture
def patient_text() -> str:
    return PATIENT


@pytest.fixture
def curves() -> Callable[[Path], dict[int, list[tuple[float, ...]]]]:
    """Every trial's curve, without the seconds it took."""

    def read(root: Path) -> dict[int, list[tuple[float, ...]]]:
        store = open_store(f"sqlite:///{root / 'studies.db'}")
        study = find_study(store, "tiny@cpu")
        assert study is not None
        return {
            trial.number: [
                (e.epoch, e.train_loss, e.validation_loss, e.validation_accuracy, e.lr)
                for e in reads.epochs(store, study, trial.number)
            ]
            for trial in reads.trials(store, study)
        }

    return read


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "storage")


@pytest.fixture
def definition(tmp_path: Path, study_text: str) -> Definition:
    (tmp_path / "tiny.toml").write_text(study_text.replace("epochs = 10", "epochs = 1"))
    return resolve(read_study_file(tmp_path / "tiny.toml"), "cpu", threads=1)
