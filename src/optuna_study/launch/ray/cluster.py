"""Workers on a Ray cluster: Ray places and starts their processes, the store's leases own trials.

An actor is never restarted by Ray itself. When one dies, the launch gives its trial back and
starts another, so that nothing works under the name of a worker whose trial was just given away.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from optuna_study.errors import DeviceError, StorageUrlError, UsageError
from optuna_study.launch import worker_count
from optuna_study.launch.ray import actor
from optuna_study.launch.ray.process import ActorProcess
from optuna_study.worker import machine
from optuna_study.worker.messages import Facts, Message, Proven, WorkerTask, rebuilt
from optuna_study.worker.process import answer_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds after which people hear what is waited for
RECOUNT = 2.0  # seconds between two looks at which nodes there are
CONNECT = 5.0  # seconds
# A client server forks a process for each client beside gRPC's threads: one of twenty died at once
# (Ray's issue 63202); none of 200 did where GRPC_ENABLE_FORK_SUPPORT=false was set.
ATTEMPTS = 3
STORE_BYTES = 80_000_000  # of Ray's object store on a cluster of our own: orders are small


@dataclass(frozen=True)
class Need:
    """What Ray keeps free for one worker."""

    cpus: float
    memory: int  # bytes
    sharing: int = 0  # workers that share a GPU; 0 for workers without one

    @property
    def gpus(self) -> float:
        """The part of a GPU that is its own, rounded down to what Ray can express."""
        return int(10_000 / self.sharing) / 10_000 if self.sharing else 0.0


def room_on(resources: Mapping[str, float], need: Need) -> int:
    """How many workers a node with such resources takes.

    >>> node = {"CPU": 8.0, "GPU": 2.0, "memory": 64e9}
    >>> room_on(node, Need(1, 10**9)), room_on(node, Need(1, 10**9, 3)), room_on({}, Need(1, 1))
    (8, 6, 0)
    """
    bounds = [resources.get("CPU", 0.0) / need.cpus, resources.get("memory", 0.0) / need.memory]
    if need.sharing:
        bounds.append(int(resources.get("GPU", 0.0)) * need.sharing)
    return int(min(bounds))


class Cluster:
    """A Ray cluster, as a launch asks it and puts workers on it."""

    def __init__(self, on: str) -> None:
        self._on = on
        self._ray: Any = None
        self._need = Need(1, machine.WORKER_BYTES)
        self._grows = False  # --workers auto follows the nodes
        self._here_only = False  # a SQLite store: this machine's nodes alone
        self._here = ""  # the resource that stands for them
        self._processes: list[ActorProcess] = []
        self._counted = (0.0, 0)  # when, and how many workers there was room for
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def get_ready(self, address: StoreAddress) -> None:
        """Connect, and see that a store can be reached from all nodes.

        Raises:
            UsageError: Ray is not installed, or no cluster answers.
            StorageUrlError: a SQLite store, and the cluster has other machines.
        """
        self._ray = connected(self._on, self._open)
        if address.path is None:
            return
        hosts = [str(node["NodeManagerHostname"]) for node in self._nodes()]
        require_one_machine(address, hosts, socket.gethostname())
        self._here_only = True
        self._bound_to()

    def look_around(self, device: str) -> Facts:
        """Which kind of device the workers get.

        Raises:
            DeviceError: the cluster has none of this kind, or a particular one is asked for.
        """
        gpus = int(sum(node["Resources"].get("GPU", 0) for node in self._nodes()))
        if device not in ("auto", "cpu", "cuda"):
            raise DeviceError(
                f"device '{device}': on a cluster Ray hands out the GPUs; use auto, cpu or cuda"
            )
        if device == "cuda" and not gpus:
            raise DeviceError("device 'cuda': no node of the Ray cluster has a GPU; use auto")
        if device == "cpu" or not gpus:
            return Facts("cpu", 0, chosen_freely=False)
        return Facts("cuda", gpus, chosen_freely=False)

    def prove(
        self, definition: Definition, folder: Path | None, workspace: Workspace, device: str
    ) -> Proven:
        """What `ask.prove` gives, found out on a node.

        Raises:
            DataError: unusable data there.
            UsageError: a model that cannot be built.
        """
        arguments = {
            "definition": definition,
            "folder": folder,
            "workspace": workspace,
            "device": device,
        }
        proven: Proven = self._ask(answer_to, "prove", arguments, gpus=int(device == "cuda"))
        return proven

    def count_workers(
        self,
        asked: str | int,
        definition: Definition,
        folder: Path | None,
        workspace: Workspace,
        facts: Facts,
    ) -> int:
        """How many workers to begin with: as many as asked for, or as there is room for."""
        cpus, sharing = definition.config.train.threads, 0
        if facts.device != "cpu":
            cpus, sharing = 1, self._sharing(asked, definition, folder, workspace, facts)
        self._need = Need(cpus, machine.WORKER_BYTES, sharing)
        self._grows = asked == "auto"
        return asked if isinstance(asked, int) else max(1, self.room() or 0)

    def session(self) -> contextlib.AbstractContextManager[object]:
        """Ray tells of dead processes on stdout, which is for results; we say it ourselves."""
        return contextlib.redirect_stdout(io.StringIO())

    def start(self, task: WorkerTask) -> ActorProcess:
        """Ask Ray for an actor; it waits until a node has room."""
        options = {
            "num_cpus": self._need.cpus,
            "num_gpus": self._need.gpus,
            "memory": self._need.memory,
            "max_restarts": 0,
            "max_concurrency": 4,  # work, and beside it news and stop
            "resources": self._bound_to(),
        }
        handle = self._ray.remote(**options)(actor.Actor).remote()
        process = ActorProcess(self._ray, handle, task)
        self._processes.append(process)
        return process

    def wait(self, seconds: float) -> None:
        """Sleep, less when an actor has told something or ended."""
        self._processes = [each for each in self._processes if each.awaited]
        awaited = [reference for each in self._processes for reference in each.awaited]
        if awaited:
            self._ray.wait(awaited, num_returns=1, timeout=seconds)
        else:
            time.sleep(seconds)

    def room(self) -> int | None:
        """How many workers its nodes take now; None when a number was asked for."""
        if not self._grows:
            return None
        counted, room = self._counted
        if time.monotonic() - counted > RECOUNT:
            room = sum(room_on(node["Resources"], self._need) for node in self._nodes())
            self._counted = (time.monotonic(), room)
        return room

    def _nodes(self) -> list[Mapping[str, Any]]:
        """The nodes that live; of this machine alone where the store is."""
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        return [node for node in alive if not self._here_only or _is_here(node)]

    def _bound_to(self) -> dict[str, float]:
        """The resource that keeps workers on this machine, where they have to be."""
        if not self._here_only:
            return {}
        if nodes := self._nodes():
            self._here = f"node:{nodes[0]['NodeManagerAddress']}"
        return {self._here: 0.001}  # Ray waits for a node that is gone, should it come back

    def _sharing(
        self,
        asked: str | int,
        definition: Definition,
        folder: Path | None,
        workspace: Workspace,
        facts: Facts,
    ) -> int:
        """How many workers share a GPU: as asked for, or as measured on one of them."""
        if isinstance(asked, int):
            return -(-asked // facts.cuda_devices)
        arguments = {
            "definition": definition,
            "folder": folder,
            "workspace": workspace,
            "device": "cuda",
        }
        nodes = [node["Resources"] for node in self._nodes() if node["Resources"].get("GPU")]
        cores = min(int(node.get("CPU", 1) // node["GPU"]) for node in nodes)
        return worker_count.choose_sharing(
            lambda copies: self._ask(actor.measure, copies, arguments, gpus=1), max(1, cores)
        )

    def _ask(self, function: Any, *arguments: Any, gpus: int = 0) -> Any:
        """Call a function on some node.

        Raises:
            OptunaStudyError: what it ran into there.
            UsageError: Ray cannot call it.
        """
        remote = self._ray.remote(
            num_cpus=1, num_gpus=gpus, max_retries=0, resources=self._bound_to()
        )(function)
        reference = remote.remote(*arguments)
        if not self._ray.wait([reference], timeout=PATIENCE)[0]:
            log.info("a node of the cluster checks the study, or has no room yet")
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            raise UsageError(
                f"--on {self._on}: the nodes cannot run this package's code; install the same "
                f"version of it on each: {_last_line(error)}"
            ) from error
        if isinstance(found, Message):
            raise rebuilt(found)
        return found


def connected(on: str, until: contextlib.ExitStack) -> Any:
    """Ray, connected to the cluster that `--on` means: a server's, or this machine's.

    Where none runs on this machine one is started, and ended when `until` is.

    Raises:
        UsageError: not installed, or nobody answers.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            f"--on {on}: the package ray is not installed; "
            "pip install 'optuna-study[ray]', or leave the option out"
        )
    if on != "ray":
        _require_server(on)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray is imported
    ray: Any = importlib.import_module("ray")
    until.callback(ray.shutdown)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if on == "ray":
            ray.init(address="auto", **quiet)
        else:
            _connect(ray, on, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        nobody = isinstance(error, ConnectionError) and "RAY_ADDRESS" not in os.environ
        if on != "ray" or not nobody:
            raise UsageError(f"--on {on}: cannot connect: {_last_line(error)}") from error
        own = {"num_cpus": machine.cores(), "object_store_memory": STORE_BYTES}
        ray.init(address="local", include_dashboard=False, **own, **quiet)
    return ray


def _connect(ray: Any, on: str, **options: object) -> None:
    """Connect to a client server, again when it could not start this client's process.

    Raises:
        ConnectionError: nor the last time, or it does not answer at all.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(address=on, **options)
        except ConnectionAbortedError as error:
            if attempt == ATTEMPTS:
                raise
            log.info("--on %s: %s; trying again", on, _last_line(error))
            time.sleep(attempt)
        else:
            return


def _require_server(on: str) -> None:
    """See that something listens: Ray itself would try for half a minute."""
    try:
        place = urlsplit(on)
        address = (place.hostname or "", place.port or 0)
        socket.create_connection(address, timeout=CONNECT).close()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--on {on}: nobody listens there ({error}); give ray://host:port of the head node's "
            "Ray client server, usually port 10001"
        ) from error


def require_one_machine(address: StoreAddress, hosts: Iterable[str], here: str) -> None:
    """Refuse a SQLite store for a cluster that has nodes on other machines.

    Raises:
        StorageUrlError: there are some.
    """
    elsewhere = sorted(set(hosts) - {here})
    if elsewhere:
        raise StorageUrlError(
            f"{address}: a SQLite file is for one machine, and the Ray cluster has others "
            f"({', '.join(elsewhere)}); give --storage postgresql://..."
        )


def _is_here(node: Mapping[str, Any]) -> bool:
    return str(node["NodeManagerHostname"]) == socket.gethostname()


def _last_line(error: BaseException) -> str:
    """What Ray's message comes to; it begins with stacks and advice."""
    lines: Iterable[str] = str(error).strip().splitlines() or [type(error).__name__]
    return list(lines)[-1].strip()[:300]
