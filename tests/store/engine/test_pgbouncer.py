"""Many workers through PgBouncer's few server connections, with the file that the manual shows."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from optuna_study.errors import StoreError
from optuna_study.store.engine.connection import STATEMENT_SECONDS
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.reads import reads
from optuna_study.store.records import EndKind
from optuna_study.store.studies import studies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.store.engine.connection import Store

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

MANUAL = Path(__file__).parents[3] / "docs" / "clusters.md"
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
SERVER_CONNECTIONS = 4
PASSWORD = "pooled-s3cret"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for PgBouncer's files: not pytest's own, which is for the tests' user alone."""
    if PROGRAM is None:
        pytest.skip("no pgbouncer: Debian's package of that name is not installed")
    made = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def pooled_url(empty_postgres: str, unused_port: int, folder: Path) -> Iterator[str]:
    """The URL of an empty database behind PgBouncer, which has four connections to it."""
    with pgbouncer(empty_postgres, unused_port, folder, {}) as url:
        yield url


@contextmanager
def pgbouncer(server_url: str, port: int, folder: Path, changes: dict[str, str]) -> Iterator[str]:
    """A PgBouncer on a port of this machine, in front of a server's database."""
    server = make_url(server_url)
    settings = the_manual_s_file()
    line = dict(pair.split("=", 1) for pair in shlex.split(settings["databases"]["optuna"]))
    line |= {
        "host": str(server.host or server.query.get("host")),
        "port": str(server.port or 5432),
        "dbname": str(server.database),
        "user": str(server.username),
    } | ({"password": server.password} if server.password else {})
    settings["databases"]["optuna"] = " ".join(f"{key}='{value}'" for key, value in line.items())
    settings["pgbouncer"].update(
        {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "auth_file": str(folder / "userlist.txt"),
            "default_pool_size": str(SERVER_CONNECTIONS),
            "unix_socket_dir": "",
        }
        | changes
    )
    (folder / "userlist.txt").write_text(f'"worker" "{PASSWORD}"\n')
    process = start(folder, settings, socket_owner(line["host"]))
    wait_for(process, port, folder / "said")
    try:
        yield f"postgresql://worker:{PASSWORD}@127.0.0.1:{port}/optuna"
    finally:
        process.terminate()
        process.wait()


def certificate(folder: Path, name: str) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    made = folder / f"{name}.crt"
    command = "openssl req -x509 -nodes -newkey rsa:2048 -days 2 -subj /CN=127.0.0.1"
    files: list[str | Path] = [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        made.with_suffix(".key"),
    ]
    subprocess.run([*command.split(), *files, "-out", made], check=True, capture_output=True)
    return made


def test_tls_parameters_of_the_url_are_heeded(
    empty_postgres: str, unused_port: int, folder: Path
) -> None:
    server, other = certificate(folder, "server"), certificate(folder, "other")
    encrypted = {
        "client_tls_sslmode": "require",
        "client_tls_cert_file": str(server),
        "client_tls_key_file": str(server.with_suffix(".key")),
    }
    with pgbouncer(empty_postgres, unused_port, folder, encrypted) as url:
        store = open_store(f"{url}?sslmode=verify-full&sslrootcert={server}", create=True)
        with store.write() as connection:
            driver: Any = connection.connection.driver_connection
            assert driver.pgconn.ssl_in_use
        store.close()
        with pytest.raises(StoreError, match="certificate verify failed"):
            open_store(f"{url}?sslmode=verify-full&sslrootcert={other}")
        with pytest.raises(StoreError, match="SSL required"):
            open_store(f"{url}?sslmode=disable")


def the_manual_s_file() -> configparser.RawConfigParser:
    block = re.search(r"```ini\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    assert block is not None
    settings = configparser.RawConfigParser()
    settings.read_string(block[1])
    return settings


def socket_owner(host: str) -> int:
    """Who may reach the server: PgBouncer refuses to run as root."""
    return Path(host).stat().st_uid if host.startswith("/") else 65534


def start(
    folder: Path, settings: configparser.RawConfigParser, user: int
) -> subprocess.Popen[bytes]:
    """Start PgBouncer; as `user`, when the tests run as root."""
    file = folder / "pgbouncer.ini"
    with file.open("w") as writing:
        settings.write(writing)
    as_root = os.getuid() == 0
    if as_root:
        for path in (folder, *folder.iterdir()):
            os.chown(path, user, -1)
    assert PROGRAM is not None
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            [PROGRAM, str(file)], stdout=said, stderr=said, user=user if as_root else None
        )


def wait_for(process: subprocess.Popen[bytes], port: int, said: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    process.kill()
    raise AssertionError(said.read_text())


def server_connections(url: str) -> int:
    store = open_store(url)
    count = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    with store.read() as connection:
        found: int = connection.execute(count).scalar_one()
    store.close()
    return found


def test_many_workers_share_few_connections(
    pooled_url: str, empty_postgres: str, storm: Callable[..., list[Any]]
) -> None:
    uuids = storm(pooled_url, "create", "--processes", "8", "--budget", "60")
    assert len(uuids) == 8
    assert len(set(uuids)) == 1
    by_worker = storm(pooled_url, "work", "--processes", "12")
    taken = [number for numbers in by_worker for number in numbers]
    assert sorted(taken) == list(range(60))
    store = open_store(empty_postgres)
    study = studies.load_study(store, "storm")
    found = reads.trials(store, study)
    assert [trial.number for trial in found] == list(range(60))
    assert {trial.end for trial in found} == {EndKind.COMPLETED}
    assert {trial.claims for trial in found} == {1}
    store.close()
    # None is closed within the test; one more is this test's own, past PgBouncer. That of the
    # store above has been closed, which a busy server is a while about.
    deadline = time.monotonic() + 20
    while server_connections(empty_postgres) > SERVER_CONNECTIONS + 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert server_connections(empty_postgres) == SERVER_CONNECTIONS + 1


def test_every_server_connection_has_our_time_outs(pooled_url: str) -> None:
    setting = text("SELECT current_setting('statement_timeout')::interval")
    open_store(pooled_url, create=True).close()
    with ExitStack() as opened:
        # All connect while one server connection is enough; the others come when all transact.
        stores = [open_store(pooled_url) for _ in range(SERVER_CONNECTIONS)]
        for store in stores:
            opened.callback(store.close)
        connections = [opened.enter_context(store.read()) for store in stores]
        answers = [connection.execute(setting).scalar_one() for connection in connections]
    assert answers == [timedelta(seconds=STATEMENT_SECONDS)] * SERVER_CONNECTIONS


def test_optuna_s_own_calls_get_through_too(pooled_url: str) -> None:
    import optuna

    with ExitStack() as opened:
        stores = [open_store(pooled_url, create=True) for _ in range(2 * SERVER_CONNECTIONS)]
        for store in stores:
            opened.callback(store.close)
        optuna.create_study(study_name="plain", storage=optuna_storage(stores[0]))

        def work(store: Store) -> None:
            study = optuna.load_study(study_name="plain", storage=optuna_storage(store))
            for _ in range(8):  # psycopg prepares on the server what it has sent five times
                trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
                trial.report(0.5, 1)
                study.tell(trial, 0.5)

        with ThreadPoolExecutor() as threads:
            list(threads.map(work, stores))
        storage = optuna_storage(stores[0])
        trials = storage.get_all_trials(storage.get_study_id_from_name("plain"))
    assert sorted(trial.number for trial in trials) == list(range(16 * SERVER_CONNECTIONS))
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
