"""The services of compose.yaml as plain processes: the same files, commands and secrets."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.engine.open import open_store
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.reads import reads
from optuna_study.store.records import TrialState
from optuna_study.store.studies.studies import load_study

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from optuna_study.paths import Workspace
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import TrialRecord

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
NOBODY = 65534
DASHBOARD_PASSWORD = "dashboard-s3cret"
BUDGET = 6  # with the baseline
STUDY = f"""
title = "Digits, small enough for a test"
data = {{name = "digits", image_size = 16}}
model = {{name = "mlp", variant = "100"}}
train = {{epochs = 10, batch_size = 64, optimizer = "adam", lr = 0.001, threads = 1}}
search = {{trials = {BUDGET - 1}, confirm = {{top = 0}}, pruner = "none"}}
[space]
lr = {{low = 1e-4, high = 0.01, log = true}}
[[baselines]]
name = "plain"
settings = {{lr = 0.001}}
"""


@dataclass(frozen=True)
class Topology:
    """Where the services are, and what they are told."""

    folder: Path
    entrypoint: Path
    environment: Mapping[str, str]  # of a container of ours, for this machine
    server: Any
    postgres_password: str
    address: str  # of the proxy
    dashboard_port: int

    def start(self, *words: str, name: str) -> subprocess.Popen[bytes]:
        """A process of our image's entrypoint; what it says goes to a file."""
        with (self.folder / f"{name}.log").open("wb") as said:
            return subprocess.Popen(
                ["sh", str(self.entrypoint), *words],
                cwd=self.folder,
                env=dict(self.environment),
                stdout=said,
                stderr=said,
            )

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def ask(self, method: str, path: str, password: str | None = None, **headers: str) -> int:
        """The status of an answer of the proxy."""
        request = urllib.request.Request(self.address + path, method=method, headers=headers)
        if password is not None:
            pair = base64.b64encode(f"study:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {pair}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            with error:  # its connection would be closed some time, with a warning
                return error.code

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The store, opened with the password in the URL, as no process of the service does."""
        where = f"{self.server.host}:{self.server.port}"
        url = f"postgresql://optuna:{self.postgres_password}@{where}/optuna"
        opened = open_store(StoreAddress.parse(url))
        yield opened
        opened.close()

    def trials(self) -> tuple[TrialRecord, ...]:
        """The study's trials as they are now."""
        with self.store() as store:
            return tuple(reads.trials(store, load_study(store, "tiny@cpu")))

    def secrets_in_the_open(self) -> list[str]:
        """Arguments of any process, or variables of one of ours, that hold a password."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_bytes().decode(errors="replace")
                variables = (process / "environ").read_bytes().decode(errors="replace")
            except OSError:  # it has ended, or is another user's
                continue
            ours = f"PGPASSFILE={self.environment['PGPASSFILE']}" in variables
            for text in (arguments, variables if ours else ""):
                if self.postgres_password in text or DASHBOARD_PASSWORD in text:
                    found.append(text)
        return found


def until(ready: Any, process: subprocess.Popen[bytes], said: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, said.read_text()
        if ready():
            return
        time.sleep(0.1)
    raise AssertionError(f"not so after {seconds:g} s: {said.read_text()}")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def make_secrets(runbook: Any, folder: Path) -> None:
    """The runbook's own lines; openssl takes the password that it would ask for."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl, which the runbook makes passwords with")
    lines = [each.line for each in runbook["Start"] if each.words[0] != "docker"]
    script = "\n".join(lines).replace("openssl passwd -6", "openssl passwd -6 -stdin")
    subprocess.run(
        ["sh", "-euc", script], check=True, cwd=folder, text=True, input=DASHBOARD_PASSWORD
    )


def environment(stages: Any, services: Any, folder: Path, server: Any) -> dict[str, str]:
    """A worker's environment in its container, with this machine's places."""
    written = [value for name, value in stages["cpu"] if name == "ENV"]
    pairs = dict(pair.split("=", 1) for value in written for pair in shlex.split(value))
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    places = {
        "/opt/optuna-study/bin:$PATH": programs,
        "/home/study/storage": f"{folder}/storage",
        "/run/secrets": f"{folder}/secrets",
        "/tmp": f"{folder}/tmp",
        "@postgres/": f"@{server.host}:{server.port}/",
    }
    found = {k: v for k, v in os.environ.items() if k in ("PYTHONPATH", "LANG")}
    found["HOME"] = "/nonexistent"  # the container may be read-only
    for name, value in {**pairs, **services["worker"]["environment"]}.items():
        found[name] = replaced(value, places)
    return found


def replaced(text: str, places: Mapping[str, str]) -> str:
    """Every place at once: some of the new ones hold old ones."""
    pattern = "|".join(map(re.escape, places))
    return re.sub(pattern, lambda match: places[match[0]], text)


@contextmanager
def nginx(docker_folder: Path, folder: Path, port: int, dashboard: int) -> Iterator[None]:
    """The proxy with the very file of docker/, as a user of its own when the tests run as root."""
    if NGINX is None:
        pytest.skip("no nginx: Debian's package nginx-light is not installed")
    own = Path(tempfile.mkdtemp(prefix="nginx-"))
    users = shutil.copy(folder / "secrets" / "dashboard_users", own / "users")
    places = {
        "listen 8080": f"listen 127.0.0.1:{port}",
        "dashboard:8080": f"127.0.0.1:{dashboard}",
        "/run/secrets/dashboard_users": str(users),
        "/dev/stdout": f"{own}/access.log",
        "/tmp/": f"{own}/",
    }
    file = own / "nginx.conf"
    text = (docker_folder / "nginx.conf").read_text()
    assert all(place in text for place in places)
    file.write_text(replaced(text, places))
    as_root = os.getuid() == 0
    if as_root:
        for path in (own, *own.iterdir()):
            os.chown(path, NOBODY, -1)
    log = folder / "proxy.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [NGINX, "-e", "stderr", "-c", str(file)],
            stdout=said,
            stderr=said,
            user=NOBODY if as_root else None,
        )
    try:
        until(lambda: listens(port), process, log)
        yield
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(own)


@pytest.fixture(scope="module")
def topology(
    docker_folder: Path,
    services: dict[str, Any],
    stages: Any,
    runbook: Any,
    serving: Any,
    free_ports: Any,
    digits_workspace: Workspace,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Topology]:
    """PostgreSQL, a study that `launch --detach` has made, the dashboard and the proxy."""
    folder = tmp_path_factory.mktemp("service")
    make_secrets(runbook, folder)
    (folder / "tmp").mkdir()
    shutil.copytree(digits_workspace.root, folder / "storage")
    (folder / "tiny.toml").write_text(STUDY)
    password = (folder / "secrets" / "postgres_password").read_text().strip()
    proxy, dashboard = free_ports(2)
    with ExitStack() as stack:
        server = stack.enter_context(serving("127.0.0.1", password))
        found = Topology(
            folder,
            docker_folder / "entrypoint",
            environment(stages, services, folder, server),
            server,
            password,
            f"http://127.0.0.1:{proxy}",
            dashboard,
        )
        launch = found.start("launch", "tiny.toml", "--profile", "cpu", "--detach", name="launch")
        assert launch.wait(120) == 0, found.said("launch")
        places = {"0.0.0.0": "127.0.0.1", "8080": str(dashboard)}
        words = [replaced(word, places) for word in services["dashboard"]["command"]]
        shown = found.start(*words, name="dashboard")
        stack.callback(end, shown)
        until(lambda: listens(dashboard), shown, folder / "dashboard.log")
        stack.enter_context(nginx(docker_folder, folder, proxy, dashboard))
        yield found


def end(*processes: subprocess.Popen[bytes]) -> list[int]:
    for process in processes:
        process.terminate()
    return [process.wait(60) for process in processes]


def test_the_proxy_lets_nobody_in_without_the_password(topology: Topology) -> None:
    studies = "/api/studies"
    assert topology.ask("GET", "/") == 401
    assert topology.ask("GET", studies) == 401
    assert topology.ask("GET", studies, "wrong") == 401
    assert topology.ask("GET", "/", DASHBOARD_PASSWORD) == 200
    assert topology.ask("GET", studies, DASHBOARD_PASSWORD) == 200


def test_nobody_deletes_a_study_through_the_proxy(topology: Topology) -> None:
    import optuna

    with topology.store() as store:
        storage = optuna_storage(store)
        optuna.create_study(storage=storage, study_name="victim")
        path = f"/api/studies/{storage.get_study_id_from_name('victim')}"

        def names() -> set[str]:
            return {study.study_name for study in storage.get_all_studies()}

        assert topology.ask("DELETE", path) == 401
        assert topology.ask("DELETE", path, "wrong") == 401
        # Nor does another site's page, to whose requests a browser adds the password.
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert topology.ask("DELETE", path, DASHBOARD_PASSWORD, **foreign) == 403
        assert "victim" in names()
        own = {"Sec-Fetch-Site": "same-origin"}
        assert topology.ask("DELETE", path, DASHBOARD_PASSWORD, **own) == 403, "it only shows"
        assert "victim" in names()
        for origin in ("http://evil.example", "null", f"{topology.address}0"):
            assert topology.ask("GET", "/", DASHBOARD_PASSWORD, Origin=origin) == 403
        assert topology.ask("GET", "/", DASHBOARD_PASSWORD, Origin=topology.address) == 200
        storage.delete_study(storage.get_study_id_from_name("victim"))


def test_health_checks_pass_where_all_is_well(
    topology: Topology, services: dict[str, Any], stages: Any
) -> None:
    _, program, *arguments = services["dashboard"]["healthcheck"]["test"]
    port = str(topology.dashboard_port)
    checks = [[program, *(word.replace("8080", port) for word in arguments)]]
    *_, ours = (value for name, value in stages["cpu"] if name == "HEALTHCHECK")
    checks.append(json.loads(ours.partition("CMD")[2]))
    if shutil.which("wget"):
        script = services["proxy"]["healthcheck"]["test"][1]
        checks.append(["sh", "-c", script.replace("http://127.0.0.1:8080", topology.address)])
    for check in checks:
        done = subprocess.run(
            check, check=False, capture_output=True, env=dict(topology.environment), timeout=60
        )
        assert done.returncode == 0, (check, done.stderr)


def test_two_workers_run_the_whole_study_and_no_password_is_seen(
    topology: Topology, services: dict[str, Any], runbook: Any
) -> None:
    words = services["worker"]["command"]
    workers = [topology.start(*words, name=name) for name in ("worker-1", "worker-2")]
    seen: list[str] = []
    owners: set[str | None] = set()

    def over() -> bool:
        trials = topology.trials()
        owners.update(trial.owner for trial in trials if trial.state is TrialState.RUNNING)
        seen.extend(topology.secrets_in_the_open())
        return sum(trial.end is not None for trial in trials) == BUDGET

    until(over, workers[0], topology.folder / "worker-1.log", seconds=240)
    assert end(*workers) == [143, 143]
    assert seen == []
    assert len(owners) == 2
    trials = topology.trials()
    assert [trial.number for trial in trials] == list(range(BUDGET))
    assert all(trial.end is not None for trial in trials)
    for name in ("launch", "dashboard", "worker-1", "worker-2", "proxy"):
        assert topology.postgres_password not in topology.said(name)
    backs_up_and_restores(topology, runbook)


def backs_up_and_restores(topology: Topology, runbook: Any) -> None:
    """The runbook's commands, run where their containers would be."""
    storage = topology.folder / "storage"
    kept = sorted(path.relative_to(storage) for path in storage.glob("studies/**/*"))
    assert kept
    run_in_place(topology, runbook["Back up"])
    before = topology.trials()
    shutil.rmtree(storage)
    storage.mkdir()
    run_in_place(topology, runbook["Restore"])
    assert topology.trials() == before
    assert sorted(path.relative_to(storage) for path in storage.glob("studies/**/*")) == kept


def run_in_place(topology: Topology, commands: Sequence[Any]) -> None:
    for command in commands:
        if command.in_container is None:  # starts or stops services
            continue
        service, words = command.in_container
        variables = dict(topology.environment)
        if service == "postgres":
            variables |= topology.server.environment(topology.postgres_password)
            words = (str(topology.server.programs / words[0]), *words[1:])
        storage = variables["OPTUNA_STUDY_ARTIFACTS"]
        with ExitStack() as files:
            source: Any = subprocess.DEVNULL
            target: Any = subprocess.DEVNULL
            if command.stdin:
                source = files.enter_context((topology.folder / command.stdin).open("rb"))
            if command.stdout:
                target = files.enter_context((topology.folder / command.stdout).open("wb"))
            subprocess.run(
                [word.replace("/home/study/storage", storage) for word in words],
                check=True,
                cwd=topology.folder,
                env=variables,
                stdin=source,
                stdout=target,
            )
