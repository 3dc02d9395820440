"""The files of docker/, checked without an engine: accepted, pinned, closed, and no secret."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.cli.main import PROGRAM, group
from optuna_study.store.engine.address import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dockerfile_parse import DockerfileParser

    Services = Mapping[str, Mapping[str, Any]]

PINNED = re.compile(r"^[a-z/]+:\d+\.\d+(\.\d+)?(-[a-z]+)+(@sha256:[0-9a-f]{64})?$")
SECRET = re.compile(r"pass|secret|token|credential", re.IGNORECASE)
ADDRESS = re.compile(r"\w+://\S+")


def last(stage: Sequence[tuple[str, str]], instruction: str) -> str:
    return [value for name, value in stage if name == instruction][-1]


def accept(arguments: Sequence[str]) -> None:
    """Parse a command line as the program does, without running the command."""
    with group.make_context(PROGRAM, list(arguments)) as context:
        rest = [*context._protected_args, *context.args]
        name, command, rest = group.resolve_command(context, rest)
        assert command is not None
        command.make_context(name, rest, parent=context).close()


# Docker Compose


def test_what_compose_does_not_know_is_refused(
    docker_compose: Callable[..., Any], docker_folder: Path, tmp_path: Path
) -> None:
    mistyped = (docker_folder / "compose.yaml").read_text().replace("healthcheck:", "helthcheck:")
    file = tmp_path / "compose.yaml"
    file.write_text(mistyped)
    done = docker_compose("config", file=file)
    assert done.returncode != 0
    assert "helthcheck" in done.stderr


def test_the_services_are_these(services: Services) -> None:
    assert set(services) == {"postgres", "worker", "worker-gpu", "dashboard", "proxy"}
    assert services["worker-gpu"]["profiles"] == ["gpu"]
    assert not any("profiles" in services[name] for name in set(services) - {"worker-gpu"})


def test_nothing_but_the_proxy_has_a_port_or_a_way_out(
    services: Services, docker_compose: Any
) -> None:
    ports = {name: service.get("ports", []) for name, service in services.items()}
    assert [port["host_ip"] for port in ports.pop("proxy")] == ["127.0.0.1"]
    assert not any(ports.values())
    config = docker_compose("config", "--no-interpolate", "--format", "json")
    for name, service in services.items():
        assert "network_mode" not in service
        assert not service.get("privileged")
        assert ("outside" in service["networks"]) == (name == "proxy")
        assert service["cap_drop"] == ["ALL"]
    assert set(services["proxy"]["networks"]).isdisjoint(services["postgres"]["networks"])
    for name in ("store", "front"):
        assert re.search(rf'"{name}": {{[^}}]*"internal": true', config.stdout), name


def test_images_are_pinned(services: Services, dockerfile: DockerfileParser) -> None:
    foreign = [service["image"] for service in services.values() if "build" not in service]
    assert len(foreign) == 2
    base = [
        step["value"].removeprefix("PYTHON_IMAGE=")
        for step in dockerfile.structure
        if step["instruction"] == "ARG" and step["value"].startswith("PYTHON_IMAGE=")
    ]
    assert len(base) == 1
    for image in (*foreign, *base):
        assert PINNED.match(image), image


def test_nobody_is_root(services: Services, stages: Mapping[str, Any]) -> None:
    for name, service in services.items():
        user = service.get("user") or last(stages[service["build"]["target"]], "USER")
        assert user.partition(":")[0] not in ("", "0", "root"), name


def test_every_service_says_whether_it_is_well(
    services: Services, stages: Mapping[str, Any]
) -> None:
    for name, service in services.items():
        inherited = "build" in service and last(stages[service["build"]["target"]], "HEALTHCHECK")
        assert "healthcheck" in service or inherited, name


@pytest.mark.slow
def test_postgres_health_check_is_a_command_that_it_has(services: Services, serving: Any) -> None:
    _, program, *arguments = services["postgres"]["healthcheck"]["test"]
    with serving("127.0.0.1", "s3cret") as server:
        asked = [server.programs / program, "--port", str(server.port), *arguments]
        assert subprocess.run(asked, check=False, capture_output=True).returncode == 0
    # Two is no answer, three would be arguments that it does not know.
    assert subprocess.run(asked, check=False, capture_output=True).returncode == 2


def test_workers_get_longer_to_end_than_they_take(services: Services) -> None:
    from optuna_study.launch.supervise import GRACE

    for name in ("worker", "worker-gpu"):
        grace = services[name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > GRACE


# Secrets


def test_no_secret_stands_in_a_file(docker_folder: Path) -> None:
    root = docker_folder.parent
    for path in docker_folder.iterdir():
        if path.is_file():
            for address in ADDRESS.findall(path.read_text()):
                assert mask(address) == address, path.name
    ignored = (root / ".gitignore").read_text().splitlines()
    assert {"/docker/secrets/", "/docker/.env"} <= set(ignored)


def test_services_get_secrets_as_files_alone(services: Services) -> None:
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            assert not SECRET.search(variable) or value.startswith("/run/secrets/"), name
    holders = {
        name: [s["source"] for s in each.get("secrets", [])] for name, each in services.items()
    }
    assert holders.pop("proxy") == ["dashboard_users"]
    assert set(map(tuple, holders.values())) == {("postgres_password",)}


def test_the_image_holds_no_secret(stages: Mapping[str, Any], docker_folder: Path) -> None:
    copied = [
        value.split()[:-1]
        for stage in stages.values()
        for name, value in stage
        if name in ("COPY", "ADD") and not value.startswith("--from=")
    ]
    sources = {source.removeprefix("./") for each in copied for source in each}
    first, *allowed = (docker_folder / "Dockerfile.dockerignore").read_text().splitlines()
    assert first == "*"
    assert sources == {line[1:] for line in allowed if line.startswith("!")}
    for stage in stages.values():
        assert not [
            value for name, value in stage if name in ("ARG", "ENV") and "PASSWORD" in value
        ]


def test_the_entrypoint_hands_the_password_over_in_a_file_of_its_own(
    docker_folder: Path, tmp_path: Path
) -> None:
    program = tmp_path / "optuna-study"
    program.write_text('#!/bin/sh\necho "$@"; env\n')
    program.chmod(0o755)
    (tmp_path / "secret").write_text("a:b\\c\n")
    handed = tmp_path / "pgpass"
    done = subprocess.run(
        ["sh", docker_folder / "entrypoint", "worker", "--forever"],
        check=True,
        capture_output=True,
        text=True,
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "PGPASSFILE": str(handed),
            "POSTGRES_PASSWORD_FILE": str(tmp_path / "secret"),
        },
    )
    assert done.stdout.startswith("worker --forever\n")
    assert "a:b" not in done.stdout
    assert handed.read_text() == "*:*:*:*:a\\:b\\\\c\n"  # a colon and a backslash are escaped
    assert handed.stat().st_mode & 0o777 == 0o600  # libpq ignores a file that others may read


# Commands


def our_commands(
    services: Services, stages: Mapping[str, Any], runbook: Any
) -> Iterator[Sequence[str]]:
    """The arguments of optuna-study in all three files."""
    yield from (service["command"] for service in services.values() if "build" in service)
    _, *arguments = json.loads(last(stages["cpu"], "HEALTHCHECK").partition("CMD")[2])
    yield arguments
    for command in (each for commands in runbook.values() for each in commands):
        inside = command.in_container
        if inside is not None and inside[1][0] == PROGRAM:
            yield inside[1][1:]


def test_our_program_accepts_every_command(
    services: Services, stages: Mapping[str, Any], runbook: Any
) -> None:
    commands = list(our_commands(services, stages, runbook))
    assert {words[0] for words in commands} == {"worker", "dashboard", "list", "launch", "show"}
    for words in commands:
        accept(words)


@pytest.mark.slow
def test_docker_compose_accepts_every_command(
    runbook: Any, docker_compose: Callable[..., Any], services: Services
) -> None:
    tried = 0
    for command in (each for commands in runbook.values() for each in commands):
        if command.words[:2] != ("docker", "compose"):
            continue
        done = docker_compose(*command.words[2:])
        # It has read the whole line, and only the engine is missing.
        assert "failed to connect to the docker API" in done.stderr, command.line
        assert command.in_container is None or command.in_container[0] in services
        tried += 1
    assert tried > 12


def test_the_manual_names_what_is_there(docker_folder: Path, services: Services) -> None:
    manual = (docker_folder / "README.md").read_text()
    volume = re.search(r"`optuna-study_(\w+)`", manual)
    assert volume is not None
    assert any(mount["source"] == volume[1] for mount in services["postgres"]["volumes"])
    compose = (docker_folder / "compose.yaml").read_text()
    assert set(re.findall(r"OPTUNA_STUDY_\w+", compose)) <= set(
        re.findall(r"OPTUNA_STUDY_\w+", manual)
    )


def test_the_images_install_what_the_package_needs(
    stages: Mapping[str, Any], docker_folder: Path, tmp_path: Path
) -> None:
    pyproject = (docker_folder.parent / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(pyproject)
    commands = [value for name, value in stages["build-cpu"] if name == "RUN"]
    listing = next(command for command in commands if "tomllib" in command)
    subprocess.run(["sh", "-c", listing], check=True, cwd=tmp_path)
    picking = next(command for command in commands if "torch.txt" in command).partition("&&")[0]
    subprocess.run(["sh", "-c", picking], check=True, cwd=tmp_path)
    needed = tomllib.loads(pyproject)["project"]["dependencies"]
    assert (tmp_path / "requirements.txt").read_text().splitlines() == needed
    torch = (tmp_path / "torch.txt").read_text().splitlines()
    from_there = ("torch", "torchvision")  # built for one another
    assert torch == [line for line in needed if re.split(r"[<>=]", line)[0] in from_there]
