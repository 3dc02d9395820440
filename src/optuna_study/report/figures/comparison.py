"""Figures of baselines: by group, over several runs, beside what their source reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.report.comparison.page import MEASURES
from optuna_study.report.figures import style
from optuna_study.report.figures.kind import Kind
from optuna_study.report.figures.study_data import StudyData, group_name

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from optuna_study.report.comparison.compare import Group

PER_ROW = 28  # pixels


def groups(data: StudyData) -> Figure:
    """The baselines by group; of a comparison means with standard deviations, and the source's."""
    comparison = data.summary.comparison
    if comparison is not None and any(row.spreads for row in comparison.rows):
        return _compared(comparison.groups)
    return _single(data)


def _compared(found: tuple[Group, ...]) -> Figure:
    traces: list[dict[str, Any]] = []
    source_x: list[float] = []
    source_y: list[list[str]] = [[], []]
    for index, group in enumerate(found):
        rows = [row for row in group.rows if group.measure in row.spreads]
        spreads = [row.spreads[group.measure] for row in rows]
        names = [row.baseline for row in rows]
        label = group.name or "baselines"
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{label} ({MEASURES[group.measure]})",
                "x": style.rounded(spread.mean for spread in spreads),
                "y": [[label] * len(rows), names],
                "error_x": {
                    "type": "data",
                    "array": style.rounded(spread.deviation or 0.0 for spread in spreads),
                    "thickness": 2,
                },
                "text": [f"{len(spread.values)} runs" for spread in spreads],
                "hovertemplate": "%{x:.1%}, %{text}<extra></extra>",
                "marker": {"size": 10, "color": style.SEQUENCE[index % len(style.SEQUENCE)]},
            }
        )
        told = [row for row in rows if row.figure is not None and row.figure[0] == group.measure]
        source_x += [row.figure[1] for row in told if row.figure is not None]
        source_y[0] += [label] * len(told)
        source_y[1] += [row.baseline for row in told]
    if source_x:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "the source's figure",
                "x": source_x,
                "y": source_y,
                "hovertemplate": "source: %{x:.1%}<extra></extra>",
                "marker": {"symbol": "x-thin-open", "size": 10, "color": style.BASELINE},
            }
        )
    count = sum(len(group.rows) for group in found)
    layout = {
        "height": 140 + PER_ROW * count,
        "xaxis": {"title": {"text": "accuracy"}, "tickformat": ".0%"},
        "yaxis": {"type": "multicategory", "autorange": "reversed"},
    }
    return style.figure(traces, layout)


def _single(data: StudyData) -> Figure:
    """One run a baseline, the best trial as a line."""
    rows = [t for t in data.summary.baselines if t.value is not None]
    if not rows:
        return style.message("No baseline has reported a value.")
    ended = [group_name(trial) for trial in rows]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": style.rounded(trial.value for trial in rows),
        "y": [[t.group or "baselines" for t in rows], [t.baseline for t in rows]],
        "marker": {"color": [style.COLOURS[end] for end in ended]},
        "text": [data.shown(trial.value) for trial in rows],
        "customdata": ended,
        "hovertemplate": "%{text}, %{customdata}<extra></extra>",
        "showlegend": False,
    }
    shapes = []
    if data.ranked and data.ranked[0].value is not None:
        best = data.ranked[0]
        shapes = [
            {
                "type": "line",
                "x0": best.value,
                "x1": best.value,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": style.BEST, "width": 2, "dash": "dash"},
                "label": {
                    "text": f"best: trial {best.number}",
                    "textposition": "end",
                    "textangle": 0,
                    "xanchor": "right",
                    "yanchor": "bottom",
                },
            }
        ]
    layout = {
        "height": 140 + PER_ROW * len(rows),
        "xaxis": style.value_axis(data.label, accuracy=data.is_accuracy),
        "yaxis": {"type": "multicategory", "autorange": "reversed"},
        "shapes": shapes,
    }
    return style.figure([trace], layout)


KINDS = (Kind("baselines", "Baselines by group", groups),)
