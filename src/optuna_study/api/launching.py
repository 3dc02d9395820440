"""`launch` in Python."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.api.study import Study, find_address
from optuna_study.errors import UnreachableError
from optuna_study.paths import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optuna_study.launch.task import StudyTask, Tick

BETWEEN_DRAWINGS = 1.0  # seconds


def launch(
    study: str | Path,
    *,
    data: str | Path | None = None,
    profile: str = "auto",
    name: str | None = None,
    n_trials: int | None = None,
    timeout: float | None = None,
    workers: int | str = "auto",
    device: str = "auto",
    seed: int | None = None,
    storage: str | None = None,
    artifacts: str | Path | None = None,
    progress: bool = True,
) -> Study:
    """Create or resume a study and work on it until its budget is met, as `optuna-study launch`.

    Shows the live table on a terminal and in a notebook, unless `progress` is off. A script calls
    it below `if __name__ == "__main__":`, since workers are processes that import the script.

    Raises:
        UsageError: options, study file, data or device that cannot be used.
        NotFoundError: no such study file.
        DefinitionChangedError: the study exists with another definition or other data.
        NothingCompletedError: none of its trials completed, or too many failed in a row.
        StoreError: the store cannot be reached.
    """
    from optuna_study.launch.backend import find_backend
    from optuna_study.launch.prepare import LaunchRequest, prepare
    from optuna_study.launch.supervise import WorkerPool

    workspace = Workspace.locate(artifacts)
    request = LaunchRequest(
        str(study),
        data=None if data is None else Path(data),
        profile=profile,
        name=name,
        n_trials=n_trials,
        timeout=timeout,
        workers=workers,
        device=device,
        seed=seed,
        storage=find_address(storage, workspace),
        workspace=workspace,
    )
    with find_backend("local") as backend:
        task = prepare(request, backend)
        with WorkerPool(task, backend) as pool:
            if progress:
                _show(task, pool.ticks())
            else:
                for _ in pool.ticks():
                    pass
    return Study(task.store, task.study.name, workspace)


def _show(task: StudyTask, ticks: Iterable[Tick]) -> None:
    """Draw the live table about once a second, and once more at the end."""
    from rich.console import Console
    from rich.live import Live

    from optuna_study.report import live
    from optuna_study.report.follow import Follower
    from optuna_study.report.load import now

    follower, drawn = Follower(task.store, task.study), 0.0
    with Live(console=Console(stderr=True), auto_refresh=False) as screen:

        def draw() -> None:
            with suppress(UnreachableError):  # a store that is away for a moment shows nothing
                look = follower.look()
                screen.update(live.view(look.summary, look.running, (), now()), refresh=True)

        for _ in ticks:
            if time.monotonic() - drawn >= BETWEEN_DRAWINGS:
                draw()
                drawn = time.monotonic()
        draw()
