"""Stores of both kinds, made once and copied for every test, and short ways to fill them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import optuna
import pytest
from sqlalchemy import create_engine, insert, text
from sqlalchemy.engine import make_url

from optuna_study.store.engine.open import open_store
from optuna_study.store.records import EpochRecord, NewStudy, PlannedTrial, StoredParameter
from optuna_study.store.schema import studies
from optuna_study.store.studies.studies import create_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

LR = (
    '{"name": "FloatDistribution", "attributes": '
    '{"step": null, "low": 0.001, "high": 1.0, "log": true}}'
)
RATE = StoredParameter("lr", 0.01, LR)


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class MakeStudy(Protocol):
    def __call__(self, store: Store, **changes: Any) -> StudyRecord: ...


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def storm() -> Callable[..., list[Any]]:
    """Run `storm.py` on a store: its URL, its arguments; what each process returned."""

    def run(url: str, *arguments: str) -> list[Any]:
        done = subprocess.run(
            [sys.executable, Path(__file__).parent / "storm.py", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"STORM_URL": url},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    shutil.copy(sqlite_template, tmp_path / "studies.db")
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """A store of each kind, with its tables and no study."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def name_taken_while(postgres_url: str) -> Callable[[str, Callable[[], object]], None]:
    """Do something while plain Optuna is just making a study, which commits in the middle."""

    def run(name: str, action: Callable[[], object]) -> None:
        engine = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg"))
        waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        try:
            with ThreadPoolExecutor(1) as pool, engine.connect() as theirs:
                theirs.execute(insert(studies).values(study_name=name))
                asked = pool.submit(action)
                with engine.connect() as look:
                    while not look.execute(waits).scalar_one() and not asked.done():
                        look.rollback()
                theirs.commit()
                asked.result()
        finally:
            engine.dispose()

    return run


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    opened = open_store(url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(sqlite_url: str, clock: Clock) -> Iterator[Store]:
    opened = open_store(sqlite_url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def plain(url: str) -> Iterator[Callable[[str], optuna.Study]]:
    """A study as plain Optuna loads it, with an engine of its own."""
    storages = []

    def load(name: str) -> optuna.Study:
        storages.append(optuna.storages.RDBStorage(url))
        return optuna.load_study(study_name=name, storage=storages[-1])

    yield load
    for storage in storages:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture
def new_study() -> Callable[..., NewStudy]:
    """A study to be made: ten trials, no baselines, unless said otherwise."""

    def make(**changes: Any) -> NewStudy:
        settings: dict[str, Any] = {
            "name": "cats@cpu",
            "direction": "maximize",
            "metric": "validation_accuracy",
            "definition": {
                "search": {"stop_after_failures": 5},
                "config": {"train": {"epochs": 30}},
            },
            "definition_hash": "abc",
            "fingerprint": "f1",
            "data_source": "/pictures/cats",
            "environment": {"torch": "2.14.1"},
            "seed": 7,
            "budget": 10,
            "planned": (),
        }
        return NewStudy(**(settings | changes))

    return make


@pytest.fixture
def planned() -> Callable[..., PlannedTrial]:
    """A baseline with one stored parameter."""

    def make(name: str = "relu", group: str = "activation", **fixed: Any) -> PlannedTrial:
        return PlannedTrial(name, group, (RATE,), fixed)

    return make


@pytest.fixture
def make_study(new_study: Callable[..., NewStudy]) -> MakeStudy:
    def make(store: Store, **changes: Any) -> StudyRecord:
        return create_study(store, new_study(**changes))

    return make


@pytest.fixture
def epoch() -> Callable[..., EpochRecord]:
    """An epoch's record of which only the number and the metric matter."""

    def make(number: int, value: float, **changes: float) -> EpochRecord:
        figures = {
            "train_loss": 1.5,
            "train_accuracy": 0.5,
            "validation_loss": 1.25,
            "validation_accuracy": value,
            "lr": 0.01,
            "gradient_norm": 2.0,
            "seconds": 3.0,
        }
        return EpochRecord(epoch=number, value=value, **(figures | changes))

    return make
