"""Figures of several studies on the same axes."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

from optuna_study.report.figures import style
from optuna_study.report.figures.progress import best_so_far

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotly.graph_objects import Figure

    from optuna_study.report.figures.study_data import StudyData

MOST_POINTS = 1500  # of one study


def histories(several: Sequence[StudyData]) -> Figure:
    """Values by trial number and the best so far, a colour a study."""
    traces: list[dict[str, Any]] = []
    for data, colour in zip(several, cycle(style.SEQUENCE), strict=False):
        done = sorted(data.ranked, key=lambda trial: trial.number)
        drawn = style.sample(done, MOST_POINTS)
        marker = {"color": colour, "size": 6, "opacity": 0.45}
        points = {
            "x": [trial.number for trial in drawn],
            "y": style.rounded(trial.value for trial in drawn),
            "mode": "markers",
            "marker": marker,
            "showlegend": False,
            "hovertemplate": "trial %{x}: %{y}",
        }
        best = list(best_so_far(data))
        line = {
            "x": [number for number, _ in best],
            "y": style.rounded(value for _, value in best),
            "mode": "lines",
            "line": {"color": colour, "width": 2, "shape": "hv"},
            "hoverinfo": "skip",
        }
        named = {"type": "scatter", "name": data.study.name, "legendgroup": data.study.name}
        traces += [points | named, line | named]
    return _figure(several, traces, "trial")


def efforts(several: Sequence[StudyData]) -> Figure:
    """The best so far over the seconds of training of all trials before, a colour a study."""
    traces: list[dict[str, Any]] = []
    for data, colour in zip(several, cycle(style.SEQUENCE), strict=False):
        spent, before = {}, 0.0
        for trial in data.trials:
            before += trial.worked
            spent[trial.number] = before
        best = list(best_so_far(data))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": data.study.name,
                "x": style.rounded(spent[number] for number, _ in best),
                "y": style.rounded(value for _, value in best),
                "line": {"color": colour, "width": 2, "shape": "hv"},
            }
        )
    return _figure(several, traces, "seconds of training, all trials together")


def _figure(several: Sequence[StudyData], traces: list[dict[str, Any]], axis: str) -> Figure:
    if not any(data.ranked for data in several):
        return style.message("No trial has completed yet.")
    first = several[0]
    layout = {
        "xaxis": {"title": {"text": axis}, "rangemode": "tozero"},
        "yaxis": style.value_axis(first.label, accuracy=first.is_accuracy),
    }
    return style.figure(traces, layout)
