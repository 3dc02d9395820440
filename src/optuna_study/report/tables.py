"""Plain aligned tables, drawn here since importing a library for them slows quick commands."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from optuna_study.report import values as words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

BOLD, RESET = "\033[1m", "\033[0m"  # click removes them where the output is no terminal
GAP = "  "
WIDTH = 120  # where the output is no terminal
NOTHING = "-"  # the cell of a value that there is not
MARKDOWN_CELL = 160  # characters
INDENT = "    "  # of what stands under a row
_COMMAND = re.compile(r"`[^`]+`")
_TIED = "\x00"  # a blank that no line ends at
NARROWEST = 24  # a prose column gets no less, on however small a terminal


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    prose: Sequence[str] = (),
    below: Sequence[str] = (),
    width: int | None = None,
) -> str:
    """Rows under their headers; a column of numbers is set flush right.

    The columns whose headers stand in `prose` share what is left of `width`, the terminal's when
    None, their text going on in the next line; a prose column without any text is left out. Where
    too little is left, the columns that stand in `below` become indented lines under their rows,
    the first of them first, until the others fit.

    >>> print(plain(table(["name", "trials"], [["a", 7], ["bc", 12]])))
    name  trials
    a          7
    bc        12
    """
    kept = [
        index
        for index, header in enumerate(headers)
        if header not in prose or any(row[index] for row in rows)
    ]
    headers = [headers[index] for index in kept]
    columns = [[row[index] for row in rows] for index in kept]
    right = [_is_numeric(column) for column in columns]
    cells = [[_cell(value) for value in column] for column in columns]
    widths = [
        max([len(header), *map(len, column)])
        for header, column in zip(headers, cells, strict=True)
    ]
    total = width or terminal_width()
    drawn = _that_fit(headers, widths, prose, below, total)
    needed = list(widths)
    _narrow(widths, [index for index in drawn if headers[index] in prose], drawn, total)
    lines = [f"{BOLD}{_line(headers, widths, right, drawn)}{RESET}"]
    if widths == needed and len(drawn) == len(headers):
        aligned = [
            [cell.rjust(room) if flush else cell.ljust(room) for cell in column]
            for column, room, flush in zip(cells, widths, right, strict=True)
        ]
        lines += [GAP.join(row).rstrip() for row in zip(*aligned, strict=True)]
        return "\n".join(lines)
    for row in zip(*cells, strict=True):
        wrapped = [
            textwrap.wrap(cell, room) if len(cell) > room else [cell]
            for cell, room in zip(row, widths, strict=True)
        ]
        height = max(len(wrapped[index]) for index in drawn)
        for parts in itertools.islice(itertools.zip_longest(*wrapped, fillvalue=""), height):
            lines.append(_line(parts, widths, right, drawn))
        said = [
            f"{header}: {cell}"
            for index, (header, cell) in enumerate(zip(headers, row, strict=True))
            if index not in drawn and cell not in ("", NOTHING)
        ]
        lines += [paragraph("; ".join(said), indent=INDENT, width=total)] if said else []
    return "\n".join(lines)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a Markdown table and an empty one, each cell on one line; none without rows.

    >>> markdown_table(["name", "end"], [["a", "pruned"]])
    ['| name | end |', '|---|---|', '| a | pruned |', '']
    """

    def line(cells: Sequence[object]) -> str:
        texts = ["" if cell is None else " ".join(str(cell).split()) for cell in cells]
        return "| " + " | ".join(text.replace("|", "\\|")[:MARKDOWN_CELL] for text in texts) + " |"

    if not rows:
        return []
    return [line(headers), "|---" * len(headers) + "|", *(line(row) for row in rows), ""]


def paragraph(text: str, *, indent: str = "", width: int | None = None) -> str:
    """A text in lines no longer than `width`, the terminal's when None.

    >>> print(paragraph("a source that says nothing", indent="  ", width=24))
      a source that says
      nothing
    """
    return textwrap.fill(
        text,
        max(width or terminal_width(), NARROWEST),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def hanging(text: str, indent: int, stream: TextIO | None = None) -> str:
    """A text as wide as the terminal, its further lines indented; one line where there is none.

    The terminal is the stream's that the text is for, stdout where None.

    Commands between backticks stay whole, so that they can be pasted.
    """
    width = line_width(stream)
    if len(text) <= width or "\n" in text:
        return text
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _TIED), text)
    begins = whole[:indent]
    filled = textwrap.fill(
        whole[indent:],
        max(width - indent, NARROWEST),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return begins + filled.replace("\n", f"\n{' ' * indent}").replace(_TIED, " ")


def line_width(stream: TextIO | None = None) -> int:
    """How wide a line may be: the terminal's width, without bounds where a program reads it."""
    shown = stream or sys.stdout
    return terminal_width(stream) if shown is not None and shown.isatty() else sys.maxsize


def terminal_width(stream: TextIO | None = None) -> int:
    """How many characters a line has: COLUMNS, else the stream's terminal; stdout's where None."""
    if stream is not None and not os.environ.get("COLUMNS"):
        with suppress(OSError, ValueError):  # it has no descriptor, or that is no terminal
            if columns := os.get_terminal_size(stream.fileno()).columns:
                return columns
    return shutil.get_terminal_size((WIDTH, 0)).columns


def plain(text: str) -> str:
    """Text without its emphasis."""
    return text.replace(BOLD, "").replace(RESET, "")


def pairs(values: Mapping[str, Any], *, indent: int = 0) -> str:
    """Names and values in two aligned columns.

    >>> print(pairs({"lr": 0.01, "optimizer": "sgd"}))
    lr         0.01
    optimizer  sgd
    """
    width = max((len(name) for name in values), default=0)
    return "\n".join(
        hanging(f"{' ' * indent}{name:<{width}}{GAP}{_cell(value)}".rstrip(), indent + width + 2)
        for name, value in values.items()
    )


def heading(text: str) -> str:
    """The title of a block of output."""
    return f"{BOLD}{text}{RESET}"


def _that_fit(
    headers: Sequence[str],
    widths: Sequence[int],
    prose: Sequence[str],
    below: Sequence[str],
    total: int,
) -> list[int]:
    """The columns that stay beside each other, without as many of those in `below` as need be."""
    drawn = list(range(len(headers)))
    for header in below:
        least = [
            min(widths[index], NARROWEST) if headers[index] in prose else widths[index]
            for index in drawn
        ]
        if sum(least) + len(GAP) * (len(least) - 1) <= total:
            break
        drawn = [index for index in drawn if headers[index] != header]
    return drawn


def _narrow(widths: list[int], prose: Sequence[int], drawn: Sequence[int], total: int) -> None:
    """Give the prose columns equal shares of the width left, one that needs less its own."""
    others = sum(widths[index] for index in drawn if index not in prose)
    left = total - others - len(GAP) * (len(drawn) - 1)
    waiting = sorted(prose, key=lambda index: widths[index])
    while waiting:
        share = max(left // len(waiting), NARROWEST)
        index = waiting.pop(0)
        widths[index] = min(widths[index], share)
        left -= widths[index]


def _is_numeric(values: Sequence[Any]) -> bool:
    numbers = [value for value in values if value is not None]
    return bool(numbers) and all(
        isinstance(value, int | float) or _is_percentage(value) for value in numbers
    )


def _is_percentage(value: Any) -> bool:
    return isinstance(value, str) and (
        value == NOTHING or (value[:1].isdigit() and value.endswith((" %", " %*")))
    )


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    return words.number(value) if isinstance(value, float) else str(value)


def _line(
    cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], drawn: Sequence[int]
) -> str:
    aligned = (
        cells[index].rjust(widths[index]) if right[index] else cells[index].ljust(widths[index])
        for index in drawn
    )
    return GAP.join(aligned).rstrip()
