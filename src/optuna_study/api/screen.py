"""Where a launch from Python shows what it does: a terminal, or a notebook's cell."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


NOTEBOOK_WIDTH = 110  # characters
PRE = (
    '<pre style="white-space:pre;overflow-x:auto;line-height:normal;'
    "font-family:Menlo,'DejaVu Sans Mono',consolas,monospace\">{code}</pre>"
)


@contextmanager
def screen() -> Iterator[Callable[[RenderableType], None]]:
    """A place on stderr, or in a notebook's cell, that shows one thing instead of the one before.

    The cell is reached through IPython alone: rich's own way needs ipywidgets, which many a
    notebook lacks. Where stderr is no terminal, only the last thing is written.
    """
    if _in_notebook():
        yield _cell()
        return
    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda shown: live.update(_as_it_is(shown), refresh=True)


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def _cell() -> Callable[[RenderableType], None]:
    from IPython.display import HTML, display

    handle: Any = None

    def show(shown: RenderableType) -> None:
        nonlocal handle
        html = HTML(_html(shown))
        if handle is None:
            handle = display(html, display_id=True)
        else:
            handle.update(html)

    return show


def _html(shown: RenderableType) -> str:
    console = Console(record=True, width=NOTEBOOK_WIDTH, file=io.StringIO(), force_jupyter=False)
    console.print(_as_it_is(shown))
    return console.export_html(inline_styles=True, code_format=PRE)


def _as_it_is(shown: RenderableType) -> RenderableType:
    return Text(shown) if isinstance(shown, str) else shown  # brackets of a name are no markup
