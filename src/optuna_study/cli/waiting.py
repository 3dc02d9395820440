"""A word on a terminal while something takes longer than a moment."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optuna_study.cli.options import invocation
from optuna_study.cli.output import cursor_stream
from optuna_study.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Say what is done while the block runs, and for how long; the function says what comes next.

    Nothing is left of it, and nothing is written with `--quiet` or where stderr is no terminal.
    """
    if invocation().quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    console = Console(file=cursor_stream())
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=4, redirect_stdout=False
    ) as progress:
        task = progress.add_task(printable(what))
        progress.refresh()
        yield lambda text: progress.update(task, description=printable(text), refresh=True)
