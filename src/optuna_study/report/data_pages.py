"""Data sets and folders of pictures as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna_study.data.check import FolderReport
    from optuna_study.data.overview import Overview


def data_sets_text(rows: list[dict[str, Any]]) -> str:
    """The data sets as a table."""
    widths = [max(len(row[column]) for row in rows) for column in ("name", "state")]
    return "\n".join(
        f"{row['name']:<{widths[0]}}  {row['state']:<{widths[1]}}  {row['title']}" for row in rows
    )


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


def to_text(report: FolderReport) -> str:
    """The report for a person to read."""
    width = max(len(name) for name in ("class", *report.classes))
    lines = [f"{report.folder}: {sum(report.classes.values())} pictures", ""]
    lines.append(f"{'class':<{width}}  pictures  different")
    for name, count in report.classes.items():
        lines.append(f"{name:<{width}}  {count:>8}  {report.different[name]:>9}")
    lines.append(f"largest by smallest class: {report.imbalance:.2f}")
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
    lines += [f"Problem: {problem}" for problem in report.problems] or ["No problems found."]
    return "\n".join(lines)


def _section(title: str, items: Sequence[str]) -> Iterator[str]:
    if not items:
        return
    yield ""
    yield f"{title} ({len(items)}):"
    yield from (f"  {item}" for item in items[:SHOWN])
    if len(items) > SHOWN:
        yield f"  and {len(items) - SHOWN} more; -f json lists all"
