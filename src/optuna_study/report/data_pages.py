"""Data sets and folders of pictures as text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from optuna_study.report.tables import hanging, line_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna_study.data.folder.check import FolderReport
    from optuna_study.data.overview import Overview


def data_sets_text(rows: list[dict[str, Any]]) -> str:
    """The data sets as a table; where that has no room, what each is below its name."""
    name, state, title = (
        max(len(row[column]) for row in rows) for column in ("name", "state", "title")
    )
    beside = name + state + title + 4 <= line_width()
    lines = []
    for row in rows:
        begins = f"{row['name']:<{name}}  "
        if beside:
            lines.append(f"{begins}{row['state']:<{state}}  {row['title']}")
        else:
            lines.append(f"{begins}{row['state']}")
            lines.append(hanging(f"{'':{name}}  {row['title']}", name + 2))
    return "\n".join(lines)


def overview_text(found: Overview) -> str:
    """The overview for a person to read."""
    width = max(len(label) for label in ("class", *found.classes))
    lines = [
        f"{found.name}: {found.title}",
        f"{found.pictures} pictures, {found.different} of them different; kept at "
        f"{found.size}x{found.size} with {found.channels} channels",
        f"fingerprint {found.fingerprint}",
        "",
        f"{'class':<{width}}  train  validation  test",
    ]
    for label, sides in found.classes.items():
        counts = f"{sides['train']:>5}  {sides['validation']:>10}  {sides['test']:>4}"
        lines.append(f"{label:<{width}}  {counts}")
    lines += ["", *found.notes] if found.notes else []
    return "\n".join(lines)


SHOWN = 20
"""Lines of each kind in the text; JSON lists all."""

WIDTH = 80
"""Columns that every line fits."""


def to_text(report: FolderReport) -> str:
    """The report for a person to read."""
    shown = {label: _shorten(label, WIDTH - 21) for label in report.classes}
    width = max(len(name) for name in ("class", *shown.values()))
    lines = [*_fill(f"{report.folder}: {sum(report.classes.values())} pictures"), ""]
    lines.append(f"{'class':<{width}}  pictures  different")
    for name, count in report.classes.items():
        lines.append(f"{shown[name]:<{width}}  {count:>8}  {report.different[name]:>9}")
    lines.append(f"largest by smallest class: {report.imbalance:.2f}")
    if report.parts:
        lines.append(", ".join(f"{part} {count}" for part, count in report.parts.items()))
    lines += _left_out(report)
    lines += _section("Unreadable", report.unreadable)
    lines += _section("Mended", report.mended)
    for kind, copies in (
        ("Byte-identical", report.identical),
        ("Near-identical", report.near_identical),
    ):
        across = [" = ".join(each.files) for each in copies if each.across_labels]
        within = [" = ".join(each.files) for each in copies if not each.across_labels]
        lines += _section(f"{kind}, different labels", across)
        lines += _section(f"{kind}, same label", within)
    lines.append("")
    for kind, sentences in (("Remark", report.remarks), ("Problem", report.problems)):
        lines += [line for each in sentences for line in _fill(f"{kind}: {each}", "  ")]
    if not report.problems:
        lines.append("No problems found.")
    return "\n".join(lines)


def _left_out(report: FolderReport) -> Iterator[str]:
    """The files that are not used, by the reason, with the first of them."""
    if not report.left_out:
        return
    yield from ("", f"Left out ({len(report.left_out)}):")
    reasons: dict[str, list[str]] = {}
    for each in report.left_out:
        reasons.setdefault(each.reason, []).append(each.file)
    for reason, files in list(reasons.items())[:SHOWN]:
        first = files[0] if len(files) == 1 else f"{files[0]}, ..."
        yield from _fill(f"  {len(files):>4}  {reason} ({first})", " " * 8)
    if len(reasons) > SHOWN:
        yield f"  and {len(reasons) - SHOWN} more reasons; -f json lists all"


def _section(title: str, items: Sequence[str]) -> Iterator[str]:
    if not items:
        return
    yield ""
    yield f"{title} ({len(items)}):"
    for item in items[:SHOWN]:
        yield from _fill(f"  {item}", "    ")
    if len(items) > SHOWN:
        yield f"  and {len(items) - SHOWN} more; -f json lists all"


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _fill(text: str, indent: str = "") -> list[str]:
    """The text in lines that fit, further ones indented; a name that is too long is broken."""
    if len(text) <= WIDTH:
        return [text]
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False
    )
