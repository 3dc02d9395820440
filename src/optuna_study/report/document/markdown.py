"""A report as Markdown: its texts and tables, with the figures' tables where they have one."""

from __future__ import annotations

from optuna_study.report.document.blocks import Block, Code, Document, Drawing, Table, Text
from optuna_study.report.tables import markdown_table


def to_markdown(document: Document) -> str:
    """The report as one Markdown text."""
    lines = [f"# {document.title}", "", document.subtitle, ""]
    for section in document.sections:
        blocks = [line for block in section.blocks for line in _block(block)]
        if blocks:
            lines += [f"## {section.title}", "", *blocks]
    return "\n".join(lines).rstrip() + "\n"


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        text = " ".join(block.text.split())
        return [f"**{text}**" if block.lead else text, ""]
    if isinstance(block, Table):
        return markdown_table(block.headers, block.rows)
    if isinstance(block, Code):
        title = [block.title, ""] if block.title else []
        return [*title, "```", block.text.rstrip("\n"), "```", ""]
    instead = block.instead if isinstance(block, Drawing) else None
    return [] if instead is None else markdown_table(instead.headers, instead.rows)
