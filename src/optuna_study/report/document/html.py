"""A report as one page: plotly's own script once, styles and figures in it, no request ever."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from optuna_study.report.document.blocks import (
    Code,
    Document,
    Drawing,
    Made,
    Section,
    Table,
    Text,
)
from optuna_study.report.figures import style
from optuna_study.report.figures.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotly.graph_objects import Figure

    from optuna_study.report.document.blocks import Block
    from optuna_study.report.figures.study_data import StudyData

WIDE = frozenset(("parallel", "slices", "trial", "mistakes"))
"""Kinds that a telephone shows by scrolling them sideways."""

_COMMAND = re.compile(r"`([^`<>]+)`")

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
    "script-src 'unsafe-inline' 'unsafe-eval'"
)
"""Browsers are told to refuse every request; plotly compiles some of its drawing code."""


def to_html(document: Document, data: StudyData) -> str:
    """The report as the text of one file."""
    from plotly.offline import get_plotlyjs

    page = _Page(data)
    body = [
        f"<header><h1>{escape(document.title)}</h1><p>{escape(document.subtitle)}</p>",
        _contents(document),
        "</header><main>",
    ]
    for section in document.sections:
        blocks = "\n".join(page.block(block) for block in section.blocks)
        body.append(
            f'<section id="{_anchor(section.title)}"><h2>{escape(section.title)}</h2>\n'
            f"{blocks}\n</section>"
        )
    body.append("</main>")
    return _HTML.format(
        policy=escape(POLICY),
        title=escape(document.title),
        style=_resource("page.css"),
        body="\n".join(body),
        plotly=get_plotlyjs() if page.figures else "",
        figures=page.as_json(),
        script=_resource("page.js"),
    )


def figure_page(kind: str, data: StudyData) -> str:
    """One figure as a page of its own."""
    drawing = Drawing(kind, Table(["figure"], [["There is nothing to draw yet."]]))
    title = data.study.definition["title"] or data.study.name
    section = Section(KINDS[kind].title, (drawing,))
    return to_html(Document(title, data.study.name, (section,)), data)


def trial_page(data: StudyData) -> str:
    """The figures of the trial that the data look at, as a page of their own."""
    drawings = tuple(Drawing(kind.name) for kind in KINDS.values() if kind.of_a_trial)
    page = Document(f"Trial {data.focus}", data.study.name, (Section("Figures", drawings),))
    return to_html(page, data)


class _Page:
    """A page under construction: what its figures are, in order."""

    def __init__(self, data: StudyData) -> None:
        self.figures: list[dict[str, object]] = []
        self._data = data

    def block(self, block: Block) -> str:
        """A block as HTML."""
        if isinstance(block, Text):
            mark = ' class="lead"' if block.lead else ""
            return f"<p{mark}>{_COMMAND.sub(_code, escape(block.text))}</p>"
        if isinstance(block, Table):
            return _table(block)
        if isinstance(block, Code):
            code = f"<pre><code>{escape(block.text.rstrip())}</code></pre>"
            if not block.title:
                return code
            return f"<details><summary>{escape(block.title)}</summary>{code}</details>"
        if isinstance(block, Made):
            return self._figure(block.title, block.figure, None)
        kind = KINDS[block.kind]
        made = kind.make(self._data)
        return self._figure(kind.title, made, block.instead, wide=block.kind in WIDE)

    def _figure(
        self, title: str, figure: Figure, instead: Table | None, *, wide: bool = False
    ) -> str:
        made = json.loads(figure.to_json())
        if not made["data"]:  # nothing to draw: a report does without it
            return "" if instead is None else _table(instead)
        made["layout"].pop("template", None)
        self.figures.append(made)
        height = made["layout"].get("height", style.HEIGHT)
        mark = " wide" if wide else ""
        return (
            f"<figure><figcaption>{escape(title)}</figcaption>"
            f'<div class="scroller"><div class="plot{mark}" id="figure-{len(self.figures) - 1}" '
            f'style="height:{height}px"></div></div></figure>'
        )

    def as_json(self) -> str:
        """The figures and both templates; `<` is spelled out, so that no text ends the script."""
        content = {
            "figures": self.figures,
            "light": style.template(dark=False),
            "dark": style.template(dark=True),
        }
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
        return text.replace("<", "\\u003c")


def _code(command: re.Match[str]) -> str:
    return f"<code>{command[1]}</code>"


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    head = ""
    if any(table.headers):
        cells = "".join(f"<th>{escape(header)}</th>" for header in table.headers)
        head = f"<thead><tr>{cells}</tr></thead>"
    rows = "\n".join(f"<tr>{_cells(row)}</tr>" for row in table.rows)
    return f'<div class="scroller"><table>{head}<tbody>{rows}</tbody></table></div>'


LONG = 24  # letters that a column has at least room for, however narrow the page


def _cells(row: Sequence[str]) -> str:
    marks = [' class="long"' if len(cell) > LONG else "" for cell in row]
    return "".join(f"<td{mark}>{escape(cell)}</td>" for mark, cell in zip(marks, row, strict=True))


def _contents(document: Document) -> str:
    links = "".join(
        f'<a href="#{_anchor(section.title)}">{escape(section.title)}</a>'
        for section in document.sections
    )
    return f"<nav>{links}</nav>" if len(document.sections) > 1 else ""


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _resource(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
<noscript><p>The figures need JavaScript; texts and tables do not.</p></noscript>
<script>{plotly}</script>
<script type="application/json">{figures}</script>
<script>
{script}</script>
</body>
</html>
"""
