"""`launch` in Python."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.api.study import Study, find_address
from optuna_study.errors import UnreachableError
from optuna_study.paths import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import RenderableType

    from optuna_study.launch.task import StudyTask, Tick


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

    `study` is a study file, its name, or a folder of pictures, which gets the file that `init`
    would write. Shows the live table on a terminal and in a notebook, unless `progress` is off. A
    script calls it below `if __name__ == "__main__":`, since workers import the script.

    Raises:
        UsageError: options, study file, folder, data or device that cannot be used.
        NotFoundError: no such study file.
        DefinitionChangedError: the study exists with another definition or other data.
        NothingCompletedError: none of its trials completed, or too many failed in a row.
        StoreError: the store cannot be reached.
    """
    from optuna_study.api.screen import screen
    from optuna_study.launch.backend import find_backend
    from optuna_study.launch.options import study_of
    from optuna_study.launch.prepare import LaunchRequest, prepare
    from optuna_study.launch.supervise import WorkerPool

    workspace = Workspace.locate(artifacts)
    with screen() if progress else nullcontext(_show_nothing) as show:
        show("Starting torch")
        named, made = study_of(str(study))
        if made:
            show(made)
        request = LaunchRequest(
            named,
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
            task = prepare(request, backend, show)
            with WorkerPool(task, backend) as pool:
                _follow(task, pool.ticks(), show)
    return Study(task.store, task.study.name, workspace)


def _show_nothing(_: RenderableType) -> None:
    """Leave out what `progress` would show."""


def _follow(
    task: StudyTask, ticks: Iterable[Tick], show: Callable[[RenderableType], None]
) -> None:
    """Show the live table about once a second, and once more at the end."""
    if show is _show_nothing:
        for _ in ticks:
            pass
        return
    from rich.console import Group
    from rich.text import Text

    from optuna_study.report import live
    from optuna_study.report.follow import Follower

    table, drawn = live.LiveTable(Follower(task.store, task.study)), 0.0

    def draw() -> None:
        with suppress(UnreachableError):  # a store that is away for a moment shows nothing
            show(Group(*map(Text, task.notes), table.draw()))

    for _ in ticks:
        if time.monotonic() - drawn >= live.BETWEEN_DRAWINGS:
            draw()
            drawn = time.monotonic()
    draw()
