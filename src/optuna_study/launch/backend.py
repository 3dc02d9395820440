"""Where the workers of a launch run: this machine, or a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from optuna_study.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from optuna_study.definition.model import Definition
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress
    from optuna_study.worker.messages import Facts, Message, Proven, WorkerTask

LOCAL, RAY = "local", "ray"


class WorkerProcess(Protocol):
    """A worker process that was started, wherever it runs."""

    @property
    def pid(self) -> int | None:
        """Its number there, None until it is known."""

    def receive(self) -> list[Message]:
        """What it has said since the last call."""

    def ended(self) -> str | None:
        """How it ended, such as "was killed by SIGKILL"; None while it is there."""

    def ran_out_of_memory(self) -> bool:
        """Whether it ended because the kernel killed it for want of memory; asked once."""

    def ask_to_stop(self) -> None:
        """Ask it to requeue its trial and to leave."""

    def leave_out(self, study: str) -> None:
        """Ask it not to open a study, which has killed others."""

    def kill(self) -> None:
        """End it now, and return when it is gone."""

    def close(self) -> None:
        """Let go of what an ended process leaves."""


class Backend(Protocol):
    """Where the workers of a launch run: it answers the launch's checks and starts processes."""

    def get_ready(self, address: StoreAddress) -> None:
        """Start or connect to what takes a while, for workers of the store at this address.

        Raises:
            UsageError: it is not there.
            StorageUrlError: the store cannot be reached from it.
        """

    def look_around(self, device: str) -> Facts:
        """Which device an option means there.

        Raises:
            DeviceError: it is not there.
        """

    def prove(
        self, definition: Definition, folder: Path | None, workspace: Workspace, device: str
    ) -> Proven:
        """Show that the data can be read and split there, and that every model can be built.

        Raises:
            DataError: unusable data.
            UsageError: a model that cannot be built.
        """

    def count_workers(
        self,
        asked: str | int,
        definition: Definition,
        folder: Path | None,
        workspace: Workspace,
        facts: Facts,
    ) -> int:
        """How many workers to begin with, for a number that was asked for or `auto`."""

    def session(self) -> AbstractContextManager[object]:
        """Around the whole time in which processes are started and listened to."""

    def start(self, task: WorkerTask) -> WorkerProcess:
        """Start a worker process."""

    def wait(self, seconds: float) -> None:
        """Sleep, less when one of the processes started here says something or ends."""

    def room(self) -> int | None:
        """How many workers there is room for now; None where that does not change."""


def find_backend(on: str) -> AbstractContextManager[Backend]:
    """The backend that `--on` means; leaving the context lets go of it.

    Raises:
        UsageError: it means none.
    """
    from optuna_study.launch.local import ThisMachine
    from optuna_study.launch.ray.cluster import Cluster

    if on == LOCAL:
        return ThisMachine()
    if on == RAY or on.startswith(f"{RAY}://"):
        return Cluster(on)
    raise UsageError(f"--on {on}: unknown; give local, ray, or ray://host:port")
