"""A worker on another machine, as near to one as one machine comes: another network, another user.

It has nothing but the server's URL in its environment and its own copy of the pictures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from optuna_study.store.engine.open import open_store
from optuna_study.store.reads import reads
from optuna_study.store.records import EndKind
from optuna_study.store.studies.studies import load_study

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

IP = shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin")
NOBODY = 65534
PASSWORD = "far-away-s3cret"
STUDY = """
title = "Stripes, few enough for a test"
data = {name = "folder", image_size = 16}
model = {name = "mlp", variant = "100"}
train = {epochs = 2, batch_size = 16, optimizer = "adam", lr = 0.001, threads = 1}
search = {trials = 2, pruner = "none"}
[space]
lr = {low = 1e-4, high = 0.01, log = true}
[[baselines]]
name = "plain"
settings = {lr = 0.001}
"""


@dataclass(frozen=True)
class Network:
    """A namespace whose only way out is a cable to this machine."""

    name: str
    here: str  # the address of this machine's end

    def enter(self, *command: str, user: int) -> list[str]:
        """The command line that runs a command in it, as another user."""
        assert IP is not None
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
        return [IP, "netns", "exec", self.name, *as_user, *command]


@contextmanager
def network() -> Iterator[Network]:
    """Make the namespace and the cable, or skip; both are gone when the block ends."""
    if os.getuid() != 0:
        pytest.skip("only root makes network namespaces")
    if IP is None or shutil.which("setpriv") is None:
        pytest.skip("no ip or no setpriv: Debian's packages iproute2 and util-linux")
    number = os.getpid() % 256
    name, near, far = f"optuna-study-{number}", f"near{number}", f"far{number}"
    made = subprocess.run([IP, "netns", "add", name], check=False, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
    try:
        # Addresses of 198.18.0.0/15 are for tests of networks alone.
        for command in (
            f"link add {near} type veth peer name {far} netns {name}",
            f"addr add 198.18.{number}.1/30 dev {near}",
            f"link set {near} up",
            f"-n {name} addr add 198.18.{number}.2/30 dev {far}",
            f"-n {name} link set {far} up",
        ):
            subprocess.run([IP, *command.split()], check=True, capture_output=True)
        yield Network(name, f"198.18.{number}.1")
    finally:
        subprocess.run([IP, "netns", "del", name], check=True)  # and with it the cable


def draw(folder: Path) -> Path:
    """Three classes of noise with a bright stripe, whose place is the class."""
    generator = np.random.default_rng(7)
    for index, label in enumerate(("left", "middle", "right")):
        (folder / label).mkdir(parents=True)
        for number in range(16):
            pixels = generator.integers(0, 120, (16, 16, 3), dtype=np.uint8)
            pixels[:, 5 * index : 5 * index + 5] += 100
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


def commands_of_all() -> str:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / "cmdline").read_text(errors="replace"))
        except OSError:  # it has ended
            continue
    return "\n".join(found)


def test_a_worker_in_another_network_as_another_user_runs_the_study(
    serving: Any, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        cable = stack.enter_context(network())
        again = "[sys.executable, '-c', 'import optuna_study']"
        again = f"import subprocess, sys; subprocess.check_call({again})"
        probe = cable.enter(sys.executable, "-c", again, user=NOBODY)
        if subprocess.run(probe, check=False, capture_output=True).returncode != 0:
            pytest.skip("another user cannot read this Python or this package")
        far = Path(tempfile.mkdtemp(prefix="far-"))  # pytest's own is for its user alone
        stack.callback(shutil.rmtree, far)
        server = stack.enter_context(serving(cable.here, PASSWORD))
        url = f"postgresql://optuna:{PASSWORD}@{cable.here}:{server.port}/optuna"
        near = tmp_path / "near"
        near.mkdir()
        (near / "stripes.toml").write_text(STUDY)
        pictures = draw(near / "pictures")
        launch = f"launch stripes.toml --data {pictures} --profile cpu --detach"
        subprocess.run(
            [sys.executable, "-m", "optuna_study", *launch.split()],
            check=True,
            cwd=near,
            env=os.environ | {"OPTUNA_STORAGE": url},
        )
        shutil.copytree(pictures, far / "copy")
        for path in (far, *far.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        worker = subprocess.Popen(
            cable.enter(
                *(sys.executable, "-m", "optuna_study", "worker", "stripes@cpu"),
                *("--data", str(far / "copy"), "--workers", "1"),
                user=NOBODY,
            ),
            cwd=far,
            env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "OPTUNA_STORAGE": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        stack.enter_context(worker)  # waits for it, closes its pipe
        stack.callback(worker.kill)
        seen = watched(worker)
        said, _ = worker.communicate()
        assert worker.returncode == 0, said
        assert PASSWORD not in said
        assert PASSWORD not in seen.commands
        assert seen.users == {NOBODY}
        assert seen.networks.isdisjoint({Path("/proc/self/ns/net").readlink()})
        store = open_store(url)
        stack.callback(store.close)
        trials = reads.trials(store, load_study(store, "stripes@cpu"))
        assert [trial.end for trial in trials] == [EndKind.COMPLETED] * 2
        assert list(far.glob("storage/studies/*/models/*.pt"))
        assert not list(near.glob("storage/studies/*/models/*.pt"))


@dataclass
class Seen:
    """What could be seen of a process while it ran."""

    commands: str
    users: set[int]
    networks: set[Path]


def watched(worker: subprocess.Popen[str]) -> Seen:
    """Look until the process has ended; before it has changed its user it is still root's."""
    seen = Seen("", set(), set())
    deadline = time.monotonic() + 180
    place = Path("/proc") / str(worker.pid)
    while worker.poll() is None:
        assert time.monotonic() < deadline, "the worker does not end"
        seen.commands += commands_of_all()
        with suppress(OSError):  # it has just ended
            user, network = place.stat().st_uid, (place / "ns" / "net").readlink()
            if user:
                seen.users.add(user)
                seen.networks.add(network)
        time.sleep(0.5)
    return seen
