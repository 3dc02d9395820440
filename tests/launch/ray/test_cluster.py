"""Launches on a real Ray cluster: two nodes' worth of processes on this machine."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
from launching import BENCHMARKS, run_ticks
from sqlalchemy.engine import make_url

from optuna_study.errors import DeviceError, OptunaStudyError, StorageUrlError, UsageError
from optuna_study.launch.backend import find_backend
from optuna_study.launch.prepare import LaunchRequest, prepare
from optuna_study.launch.ray import actor
from optuna_study.launch.ray.cluster import Cluster, Need, require_one_machine, room_on
from optuna_study.launch.worker_count import Measured
from optuna_study.paths import Workspace
from optuna_study.store.engine.address import StoreAddress
from optuna_study.store.reads import reads
from optuna_study.store.records import TrialState
from optuna_study.store.studies.budget import set_budget
from optuna_study.worker.messages import Message, MessageKind, WorkerTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna_study.definition.model import Definition
    from optuna_study.launch.task import StudyTask, Tick
    from optuna_study.store.records import TrialRecord

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


class Nodes:
    """A Ray cluster of this machine's processes, whose second node comes and goes."""

    def __init__(self, tools: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        head = {**NODE, "include_dashboard": False, "ray_client_server_port": self.port}
        with warnings.catch_warnings():
            # Ray leaves the files open that its client server writes to.
            warnings.simplefilter("ignore", ResourceWarning)
            self.cluster = tools.Cluster(initialize_head=True, head_node_args=head)
        self.second = self.cluster.add_node(**NODE)

    @property
    def logs(self) -> Path:
        """Where Ray's processes write to."""
        return Path(self.cluster.head_node.get_session_dir_path())

    def remove_one(self) -> None:
        self.cluster.remove_node(self.second)

    def add_one(self) -> None:
        self.second = self.cluster.add_node(**NODE)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("GRPC_ENABLE_FORK_SUPPORT", "false")  # as docs/clusters.md says, and why
        # Ray has its workers wait for everything else, beside other tests for minutes.
        patch.setenv("RAY_worker_niceness", "0")
        # Where the model of PATIENT is.
        patch.setenv("PYTHONPATH", str(BENCHMARKS), prepend=os.pathsep)
        pytest.importorskip("ray", reason="Ray is not installed: extra ray")
        started = Nodes(importlib.import_module("ray.cluster_utils"))
        patch.setenv("RAY_ADDRESS", started.cluster.address)
        yield started
        started.cluster.shutdown()


@pytest.fixture
def launch_on(
    patient_text: str, tmp_path: Path, warm: Callable[[Path], Workspace]
) -> Iterator[Callable[..., tuple[int, list[str], StudyTask]]]:
    """Launch on a cluster; the exit code, what was said, and the launch."""
    launched: list[StudyTask] = []

    def run(
        on: str,
        watch: Callable[[StudyTask, Tick], None] = lambda *_: None,
        *,
        cold: bool = False,
        **options: Any,
    ) -> tuple[int, list[str], StudyTask]:
        (tmp_path / "tiny.toml").write_text(patient_text)
        workspace = Workspace(tmp_path / "root") if cold else warm(tmp_path / "root")
        said: list[str] = []
        with find_backend(on) as backend:
            request = LaunchRequest(
                str(tmp_path / "tiny.toml"), profile="cpu", workspace=workspace, **options
            )
            prepared = prepare(request, backend)
            launched.append(prepared)
            try:
                for tick in run_ticks(prepared, backend, every=0.1):
                    said += tick.messages
                    watch(prepared, tick)
            except OptunaStudyError as error:
                said.append(str(error))
                return error.exit_code, said, prepared
        return 0, said, prepared

    yield run
    for each in launched:
        each.store.close()


def trials_of(prepared: StudyTask) -> list[TrialRecord]:
    return reads.trials(prepared.store, prepared.study, with_parameters=False)


def under_way(prepared: StudyTask) -> list[TrialRecord]:
    """Running trials with a checkpoint and half their epochs to go."""
    return [
        trial
        for trial in trials_of(prepared)
        if trial.state is TrialState.RUNNING and trial.checkpoint_epoch >= 1 and trial.epochs <= 5
    ]


class Storm:
    """A worker killed, then a node removed, one added; then the budget is set to an end."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.todo = [self.kill, self.remove, self.add, self.finish]
        self.pids: set[int] = set()
        self.budget = 0

    def __call__(self, prepared: StudyTask, tick: Tick) -> None:
        alive = {worker.pid for worker in tick.workers if worker.pid is not None}
        if self.todo and self.todo[0](prepared, tick, alive):
            del self.todo[0]
        self.pids |= alive

    def kill(self, prepared: StudyTask, tick: Tick, alive: set[int]) -> bool:
        owners = {trial.owner for trial in under_way(prepared)}
        pids = [each.pid for each in tick.workers if each.name in owners and each.pid]
        if not pids or len(alive) < 2:
            return False
        os.kill(pids[0], signal.SIGKILL)
        return True

    def remove(self, prepared: StudyTask, tick: Tick, alive: set[int]) -> bool:
        if len(alive) < 2 or alive <= self.pids:
            return False
        self.nodes.remove_one()
        return True

    def add(self, prepared: StudyTask, tick: Tick, alive: set[int]) -> bool:
        if len(tick.workers) != 1 or len(alive) != 1:
            return False
        self.nodes.add_one()
        return True

    def finish(self, prepared: StudyTask, tick: Tick, alive: set[int]) -> bool:
        if len(alive) < 2:
            return False
        counts = reads.counts(prepared.store, prepared.study)
        self.budget = counts.ended + counts.running + 1
        searched = self.budget - prepared.study.beside
        set_budget(prepared.store, prepared.study, searched)
        return True


@pytest.mark.slow
def test_a_storm_of_dying_workers_and_changing_nodes_loses_no_trial(
    nodes: Nodes, launch_on: Callable[..., tuple[int, list[str], StudyTask]]
) -> None:
    storm = Storm(nodes)
    code, said, prepared = launch_on("ray", storm, n_trials=500)
    assert code == 0, said
    assert storm.todo == []
    trials = trials_of(prepared)
    assert [trial.number for trial in trials if trial.end is not None] == list(range(storm.budget))
    assert not any(trial.state is TrialState.RUNNING for trial in trials)
    again = [trial for trial in trials if trial.claims > 1]
    assert again
    for trial in again:
        curve = reads.epochs(prepared.store, prepared.study, trial.number)
        assert [each.epoch for each in curve] == list(range(1, trial.epochs + 1))
    log = "".join(path.read_text() for path in prepared.log(prepared.workers[0]).parent.iterdir())
    assert any(f"begins after epoch {epoch}\n" in log for epoch in range(1, 10))
    assert any("died (SYSTEM_ERROR), trial " in line for line in said), said
    assert any("died with its node" in line for line in said), said
    assert "room for 1 more worker" in said


@pytest.mark.slow
@pytest.mark.postgres
def test_through_a_client_server_and_postgresql_nothing_shows_the_password(
    nodes: Nodes,
    launch_on: Callable[..., tuple[int, list[str], StudyTask]],
    postgres_url: str,
) -> None:
    secret = "n0body-knows"
    url = make_url(postgres_url).set(password=secret).render_as_string(hide_password=False)
    lines: list[str] = []
    sent: list[int] = []

    def watch(prepared: StudyTask, tick: Tick) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(path.read_text(errors="replace"))
            except OSError:  # it has ended
                continue
        if not sent and under_way(prepared):
            sent.append(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    on, storage = f"ray://127.0.0.1:{nodes.port}", StoreAddress.parse(url)
    code, said, prepared = launch_on(on, watch, workers=1, storage=storage, n_trials=1)
    assert code == 143, said
    returned = [trial for trial in trials_of(prepared) if trial.checkpoint_epoch]
    assert returned
    assert all(trial.state is TrialState.WAITING and not trial.strikes for trial in returned)

    code, said, prepared = launch_on(on, workers=1, storage=storage, n_trials=1)
    assert code == 0, said
    assert [trial.number for trial in trials_of(prepared) if trial.end is not None] == [0, 1, 2]
    written = [path for path in nodes.logs.rglob("*") if path.is_file()]
    written += [path for path in prepared.workspace.root.rglob("*.log")]
    assert any("ray::" in line for line in lines)
    assert not any(secret in line for line in lines)
    assert [path for path in written if secret in path.read_text(errors="replace")] == []


@pytest.mark.slow
def test_what_the_cluster_cannot_give_is_said(
    nodes: Nodes, launch_on: Callable[..., tuple[int, list[str], StudyTask]], tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match="no node of the Ray cluster has a GPU"):
        launch_on("ray", cold=True, device="cuda")
    with pytest.raises(DeviceError, match="Ray hands out the GPUs"):
        launch_on("ray", cold=True, device="cuda:0")
    with pytest.raises(UsageError, match="nowhere"):
        launch_on("ray", cold=True, data=tmp_path / "nowhere")  # found out on a node
    assert not (tmp_path / "root" / "studies.db").exists()


def test_backends_that_are_none() -> None:
    with pytest.raises(UsageError, match="--on slurm: unknown; give local, ray, or ray://"):
        find_backend("slurm")
    for on in ("ray://", "ray://127.0.0.1:1", "ray://127.0.0.1:x"):
        with find_backend(on) as backend, pytest.raises(UsageError, match="nobody listens there"):
            backend.get_ready(StoreAddress.parse("sqlite:///x.db"))


def test_without_ray_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with Cluster("ray") as backend, pytest.raises(UsageError, match=r"'optuna-study\[ray\]'"):
        backend.get_ready(StoreAddress.parse("sqlite:///x.db"))


def test_a_file_is_no_store_for_several_machines() -> None:
    address = StoreAddress.parse("sqlite:////srv/a.db")
    require_one_machine(address, ["alpha", "alpha"], "alpha")
    with pytest.raises(StorageUrlError, match=r"has others \(beta, gamma\); give --storage post"):
        require_one_machine(address, ["gamma", "alpha", "beta"], "alpha")


def test_workers_per_node_follow_what_they_need() -> None:
    node = {"CPU": 16.0, "GPU": 2.0, "memory": 64e9}
    assert room_on(node, Need(1, 10**9)) == 16
    assert room_on(node, Need(4, 10**9)) == 4
    assert room_on(node, Need(1, 10**10)) == 6
    assert room_on(node, Need(1, 10**9, sharing=4)) == 8
    assert room_on(node, Need(1, 10**9, sharing=12)) == 16
    assert room_on({"CPU": 16.0, "memory": 64e9}, Need(1, 10**9, sharing=4)) == 0
    for sharing in range(1, 65):  # so many parts fit in one GPU
        assert sharing * Need(1, 1, sharing).gpus <= 1


class PretendedRay:
    """As much of Ray as a cluster with GPUs needs that only hands out actors."""

    __spec__ = object()  # what tells that a package is there

    def __init__(self, *nodes: dict[str, float], refusals: int = 0) -> None:
        self._nodes = nodes
        self._refusals = refusals
        self.options: list[dict[str, Any]] = []

    def init(self, **_: Any) -> None:
        self._refusals -= 1
        if self._refusals >= 0:
            raise ConnectionAbortedError("Traceback\n  of it\nRuntimeError: server failed")

    def shutdown(self) -> None: ...
    def nodes(self) -> list[dict[str, Any]]:
        here = {"Alive": True, "NodeManagerHostname": socket.gethostname()}
        return [{**here, "NodeManagerAddress": "192.0.2.1", "Resources": n} for n in self._nodes]

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        self.options.append(options)
        return MagicMock()


@pytest.mark.parametrize(("refusals", "fails"), [(2, False), (3, True)])
def test_a_client_server_that_fails_to_start_a_process_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, refusals: int, fails: bool
) -> None:
    monkeypatch.setitem(sys.modules, "ray", PretendedRay(refusals=refusals))
    monkeypatch.setattr("time.sleep", lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        on = f"ray://127.0.0.1:{server.getsockname()[1]}"
        expected = (
            pytest.raises(UsageError, match="cannot connect: RuntimeError: server failed")
            if fails
            else contextlib.nullcontext()
        )
        with Cluster(on) as backend, expected:
            backend.get_ready(StoreAddress.parse("postgresql://ann@db/studies"))


@pytest.mark.parametrize(
    ("asked", "device", "workers", "share", "cpus"),
    [
        (4, "auto", 4, 1.0, 1),
        (5, "auto", 5, 0.5, 1),
        (12, "cuda", 12, 0.3333, 1),
        ("auto", "cpu", 32, 0, 1),
    ],
)
def test_gpus_are_shared_in_equal_parts(
    monkeypatch: pytest.MonkeyPatch,
    definition: Definition,
    workspace: Workspace,
    asked: int | str,
    device: str,
    workers: int,
    share: float,
    cpus: int,
) -> None:
    ray = PretendedRay(*[{"CPU": 16.0, "GPU": 2.0, "memory": 64e9}] * 2)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with Cluster("ray") as backend:
        backend.get_ready(StoreAddress.of_file(workspace.database))
        facts = backend.look_around(device)
        assert backend.count_workers(asked, definition, None, workspace, facts) == workers
        assert backend.room() == (workers if asked == "auto" else None)
        task = WorkerTask(
            StoreAddress.parse("sqlite:///x.db"), workspace.root, facts.device, "me-001"
        )
        backend.start(task)
    [options] = ray.options
    assert (options["num_gpus"], options["num_cpus"]) == (share, cpus)
    assert options["max_restarts"] == 0
    assert options["resources"] == {"node:192.0.2.1": 0.001}  # where the file is


@pytest.mark.slow
def test_a_node_answers_with_what_it_measured_or_why_not(
    definition: Definition, workspace: Workspace
) -> None:
    settings = {"definition": definition, "folder": None, "workspace": workspace}
    found = actor.measure(1, {**settings, "device": "cpu"})
    assert isinstance(found, Measured)
    assert found.steps_per_second > 0
    refused = actor.measure(1, {**settings, "device": "cuda:99"})
    assert isinstance(refused, Message)
    assert refused.kind is MessageKind.ERROR
