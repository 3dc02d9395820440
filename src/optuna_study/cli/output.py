"""The one door to the terminal: what it would obey is spelled out, whoever wrote it.

Names, reasons, tracebacks and pictures' paths may have been written by anybody who can write to a
store or a folder. Progress bars, which move the cursor, go past it with texts made printable.
"""

from __future__ import annotations

import io
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from optuna_study.text import spell_out

if TYPE_CHECKING:
    from collections.abc import Iterator

_HALVES = re.compile(r"[\ud800-\udfff]")


class SafeStream:
    """A text stream that writes to another one what has been spelled out."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text; bytes of a path that are no UTF-8 stay as they are but on a terminal."""
        if not self.stream.isatty() and _HALVES.search(text):
            parts = re.split(f"({_HALVES.pattern})", text)
            text = "".join(part if _HALVES.match(part) else spell_out(part) for part in parts)
        else:
            text = spell_out(text)
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def safe_output() -> Iterator[None]:
    """While the block runs, nothing else reaches stdout and stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path that is no UTF-8 stays the same
    before = sys.stdout, sys.stderr
    stdout, stderr = (
        cast("TextIO", SafeStream(stream)) if stream is not None else None for stream in before
    )  # None: the stream was closed before the program began
    sys.stdout, sys.stderr = stdout, stderr
    try:
        yield
    finally:
        if sys.stdout is stdout:  # `main` puts None there when the reader has gone
            sys.stdout = before[0]
        sys.stderr = before[1]


def cursor_stream() -> TextIO:
    """Stderr for what moves the cursor: a live table, a progress bar."""
    stream = sys.stderr
    return stream.stream if isinstance(stream, SafeStream) else stream
