"""Figures of a study's course: values by trial, how trials ended, what they cost."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from optuna_study.config.reasons import Reason
from optuna_study.report.figures import style
from optuna_study.report.figures.kind import Kind
from optuna_study.report.figures.study_data import StudyData, group_name
from optuna_study.report.values import headline
from optuna_study.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotly.graph_objects import Figure

    from optuna_study.store.records import TrialRecord

MOST_POINTS = 3000  # of one way to end
MANY = 500  # trials; more are drawn smaller
HOVER = 60  # characters of a trial's settings


def history(data: StudyData) -> Figure:
    """Values by trial number, the best so far, baselines and confirmation runs marked."""
    traces = []
    looked_at = [trial for trial in data.trials if trial.excluded is None]
    searched = [t for t in looked_at if t.baseline is None and t.confirms is None]
    for name, members in _by_end(searched):
        drawn = [trial for trial in members if trial.value is not None]
        if drawn:
            size = 8 if name == "completed" else 6
            if len(searched) > MANY:
                size //= 2
            marker = {"color": style.COLOURS[name], "size": size, "opacity": 0.75}
            traces.append(_points(data, style.sample(drawn, MOST_POINTS), name, marker))
    best = list(best_so_far(data))
    if best:
        line = {"color": style.BEST, "width": 2, "shape": "hv"}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best so far",
                "x": [number for number, _ in best],
                "y": style.rounded(value for _, value in best),
                "line": line,
                "hoverinfo": "skip",
            }
        )
    valued = [trial for trial in looked_at if trial.value is not None]
    baselines = [t for t in valued if t.baseline is not None and t.confirms is None]
    if baselines:
        marker = {"color": style.BASELINE, "size": 11, "symbol": "star"}
        traces.append(_points(data, baselines, "baseline", marker))
    runs = [trial for trial in valued if trial.confirms is not None]
    if runs:
        marker = {"color": style.CONFIRMED, "size": 9, "symbol": "diamond-open"}
        traces.append(_points(data, runs, "confirmation run", marker))
    out = [t for t in data.trials if t.excluded is not None and t.value is not None]
    if out:
        marker = {"color": style.QUIET, "size": 8, "symbol": "x-thin-open"}
        traces.append(_points(data, out, "excluded", marker))
    if not traces:
        return style.message("No trial has reported a value yet.")
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": style.value_axis(data.label, accuracy=data.is_accuracy),
    }
    return style.figure(traces, layout)


def ends(data: StudyData) -> Figure:
    """How many trials ended in which way, and why."""
    counted: Counter[tuple[str, str]] = Counter(
        (group_name(trial), _why(trial)) for trial in data.trials
    )
    if not counted:
        return style.message("No trial yet.")
    order = list(style.COLOURS)
    rows = sorted(counted.items(), key=lambda item: (order.index(item[0][0]), -item[1]))
    labels = [f"{end.replace('_', ' ')}{f': {why}' if why else ''}" for (end, why), _ in rows]
    bar = {
        "type": "bar",
        "orientation": "h",
        "x": [amount for _, amount in rows],
        "y": labels,
        "text": [str(amount) for _, amount in rows],
        "textposition": "auto",
        "marker": {"color": [style.COLOURS[end] for (end, _), _ in rows]},
        "hoverinfo": "x+y",
    }
    layout = {
        "height": 120 + 34 * len(rows),
        "xaxis": {"title": {"text": "trials"}},
        "yaxis": {"autorange": "reversed"},
        "showlegend": False,
    }
    return style.figure([bar], layout)


def cost(data: StudyData) -> Figure:
    """Seconds of training by trial; short ones were pruned or given up."""
    traces = []
    for name, members in _by_end(data.trials):
        drawn = style.sample([trial for trial in members if trial.worked > 0], MOST_POINTS)
        if drawn:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name.replace("_", " "),
                    "x": [trial.number for trial in drawn],
                    "y": style.rounded(trial.worked for trial in drawn),
                    "text": [f"{duration(t.worked)}, {t.epochs} epochs" for t in drawn],
                    "hovertemplate": "trial %{x}: %{text}<extra></extra>",
                    "marker": {"color": style.COLOURS[name], "size": 7, "opacity": 0.75},
                }
            )
    if not traces:
        return style.message("No trial has trained an epoch yet.")
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": {"title": {"text": "seconds of training"}, "rangemode": "tozero"},
    }
    return style.figure(traces, layout)


def _by_end(trials: Sequence[TrialRecord]) -> list[tuple[str, list[TrialRecord]]]:
    order = list(style.COLOURS)

    def rank(trial: TrialRecord) -> int:
        return order.index(group_name(trial))

    grouped = itertools.groupby(sorted(trials, key=rank), key=group_name)
    return [(name, list(members)) for name, members in grouped]


def _points(
    data: StudyData, trials: Sequence[TrialRecord], name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name.replace("_", " "),
        "x": [trial.number for trial in trials],
        "y": style.rounded(trial.value for trial in trials),
        "text": [_about(data, trial) for trial in trials],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


def _about(data: StudyData, trial: TrialRecord) -> str:
    who = trial.baseline or headline(trial.parameters)[:HOVER]
    if trial.confirms is not None:
        who = f"trial {trial.confirms} on a fresh seed"
    return f"trial {trial.number}: {data.shown(trial.value)}<br>{style.safe(who)}"


def best_so_far(data: StudyData) -> list[tuple[int, float]]:
    """The best completed value after each trial, where it changes, and at the end."""
    better = max if data.study.direction == "maximize" else min
    found: list[tuple[int, float]] = []
    for trial in data.trials:
        left_out = trial.confirms is not None or trial.excluded is not None
        if group_name(trial) != "completed" or trial.value is None or left_out:
            continue
        best = trial.value if not found else better(found[-1][1], trial.value)
        if not found or best != found[-1][1]:
            found.append((trial.number, best))
    if found:
        found.append((data.trials[-1].number, found[-1][1]))
    return found


def _why(trial: TrialRecord) -> str:
    """The kind of reason behind an end, in words; nothing where the end says it all."""
    kind = trial.reason.kind if isinstance(trial.reason, Reason) else ""
    told = str(kind).replace("_", " ")
    name = group_name(trial)
    return "" if name in ("completed", "running", "waiting", told) else told


KINDS = (
    Kind("history", "Values by trial", history),
    Kind("ends", "How trials ended", ends),
    Kind("cost", "What trials cost", cost),
)
