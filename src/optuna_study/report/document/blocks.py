"""What a report consists of, whatever it is written as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Text:
    """A paragraph; the lead of a report stands out."""

    text: str
    lead: bool = False


@dataclass(frozen=True)
class Table:
    """Rows below their headers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Code:
    """Lines to copy; with a title they are folded away below it."""

    text: str
    title: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure by its kind; where none can be drawn, the table stands for it."""

    kind: str
    instead: Table | None = None


@dataclass(frozen=True)
class Made:
    """A figure that is made already, of more than one study."""

    title: str
    figure: Figure


Block: TypeAlias = Text | Table | Code | Drawing | Made


@dataclass(frozen=True)
class Section:
    """Blocks below a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A report: its title, what it says in a line, and its sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]
