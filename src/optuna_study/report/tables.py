"""Plain aligned tables, drawn here since importing a library for them slows quick commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.report import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BOLD, RESET = "\033[1m", "\033[0m"  # click removes them where the output is no terminal
GAP = "  "


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows under their headers; a column of numbers is set flush right.

    >>> print(
    ...     table(["name", "trials"], [["a", 7], ["bc", 12]]).replace(BOLD, "").replace(RESET, "")
    ... )
    name  trials
    a          7
    bc        12
    """
    right = [_is_numeric([row[index] for row in rows]) for index in range(len(headers))]
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(len(header), *(len(row[index]) for row in cells), 0)
        for index, header in enumerate(headers)
    ]
    lines = [f"{BOLD}{_line(headers, widths, right)}{RESET}"]
    lines += [_line(row, widths, right) for row in cells]
    return "\n".join(lines)


def pairs(values: Mapping[str, Any], *, indent: int = 0) -> str:
    """Names and values in two aligned columns.

    >>> print(pairs({"lr": 0.01, "optimizer": "sgd"}))
    lr         0.01
    optimizer  sgd
    """
    width = max((len(name) for name in values), default=0)
    return "\n".join(
        f"{' ' * indent}{name:<{width}}{GAP}{_cell(value)}".rstrip()
        for name, value in values.items()
    )


def heading(text: str) -> str:
    """The title of a block of output."""
    return f"{BOLD}{text}{RESET}"


def _is_numeric(values: Sequence[Any]) -> bool:
    numbers = [value for value in values if value is not None]
    return bool(numbers) and all(
        isinstance(value, int | float) or _is_percentage(value) for value in numbers
    )


def _is_percentage(value: Any) -> bool:
    return isinstance(value, str) and (value.endswith(" %") or value == "-")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return words.number(value) if isinstance(value, float) else str(value)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    aligned = (
        cell.rjust(width) if flush else cell.ljust(width)
        for cell, width, flush in zip(cells, widths, right, strict=True)
    )
    return GAP.join(aligned).rstrip()
