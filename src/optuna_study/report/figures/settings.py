"""Figures of what the searched settings do to the metric."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from optuna_study.report.figures import style
from optuna_study.report.figures.kind import Kind
from optuna_study.report.values import setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotly.graph_objects import Figure

    from optuna_study.report.figures.study_data import StudyData
    from optuna_study.store.records import TrialRecord

MOST_AXES = 7  # of parallel coordinates: more leave no room for their names
MOST_SLICES = 8
MOST_LINES = 1000  # trials in one of these figures
LEAST_SHARE = 0.001  # of the importance; less is not drawn
TOGETHER = 0.8  # the share of the trials that has to have a parameter, for it to be an axis
ABSENT = "not set"
TOO_FEW = "Fewer than two trials have completed."


def importances(data: StudyData) -> Figure:
    """How much of the variance between trials each parameter explains, with 90 % intervals."""
    shares = sorted((data.study.importances or {}).items(), key=lambda item: item[1])
    drawn = [(name, share) for name, share in shares if share >= LEAST_SHARE]
    if not drawn:
        return style.message("Not computed yet: importances need some completed trials.")
    measured = data.study.measured_importances or {}
    bounds = [(share, measured[name].low, measured[name].high) for name, share in drawn]
    most = max([drawn[-1][1], *(high for _, _, high in bounds if high is not None)])
    bar = {
        "type": "bar",
        "orientation": "h",
        "x": style.rounded(share for _, share in drawn),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": style.rounded((high or share) - share for share, _, high in bounds),
            "arrayminus": style.rounded(share - (low or share) for share, low, _ in bounds),
            "color": style.QUIET,
            "thickness": 1.5,
        },
        "y": [name for name, _ in drawn],
        "marker": {"color": style.COLOURS["completed"]},
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
    }
    layout = {
        "height": 110 + 26 * len(drawn),
        "xaxis": {
            "title": {"text": "share of the variance"},
            "tickformat": ".0%",
            "range": [0, 1.05 * most],
        },
        # The figures stand beside the names: on or beside the bars the intervals strike them out.
        "yaxis": {
            "type": "category",
            "tickvals": [name for name, _ in drawn],
            "ticktext": [f"{style.safe(name)}  {share:.1%}" for name, share in drawn],
        },
    }
    return style.figure([bar], layout)


def parallel(data: StudyData) -> Figure:
    """Each completed trial as a line through its settings, coloured by its value."""
    done = list(data.comparable)
    names = [
        name
        for name in data.parameters
        if sum(name in trial.parameters for trial in done) >= TOGETHER * len(done)
    ][:MOST_AXES]
    drawn = [trial for trial in done if all(name in trial.parameters for name in names)]
    if len(drawn) < 2 or not names:
        return style.message(TOO_FEW)
    drawn = style.sample(drawn, MOST_LINES)
    drawn.reverse()  # the best are drawn last, above the others
    values = style.rounded(trial.value for trial in drawn)
    axes = [_axis(data, name, drawn) for name in names]
    last = {"label": "value", "values": values}
    trace = {
        "type": "parcoords",
        "dimensions": [*axes, last | ({"tickformat": ".0%"} if data.is_accuracy else {})],
        "line": {
            "color": values,
            "colorscale": _scale(data),
            "showscale": True,
            "colorbar": _bar(data),
        },
        "labelangle": -18,
        "labelside": "top",
    }
    layout = {"height": 440, "margin": {"l": 70, "r": 30, "t": 80, "b": 30}}
    return style.figure([trace], layout)


def slices(data: StudyData) -> Figure:
    """The value of completed trials over each setting, the most important first."""
    names = data.parameters[:MOST_SLICES]
    done = style.sample(list(data.comparable), MOST_LINES)
    if len(done) < 2 or not names:
        return style.message(TOO_FEW)
    traces = []
    rows = math.ceil(len(names) / 2)
    layout: dict[str, Any] = {
        "grid": {"rows": rows, "columns": 2, "pattern": "independent", "ygap": 0.35},
        "height": 80 + 230 * rows,
        "showlegend": False,
    }
    for index, name in enumerate(names):
        axis = str(index + 1) if index else ""
        having = [trial for trial in done if name in trial.parameters]
        x = [_shown_value(trial.parameters[name]) for trial in having]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": x,
                "y": style.rounded(trial.value for trial in having),
                "xaxis": f"x{axis}",
                "yaxis": f"y{axis}",
                "customdata": [trial.number for trial in having],
                "hovertemplate": f"trial %{{customdata}}, {name} %{{x}}: %{{y}}<extra></extra>",
                "marker": {"size": 6, "opacity": 0.6, "color": style.COLOURS["completed"]},
            }
        )
        layout[f"xaxis{axis}"] = _setting_axis(data, name)
        layout[f"yaxis{axis}"] = {"tickformat": ".0%"} if data.is_accuracy else {}
    return style.figure(traces, layout)


def interaction(data: StudyData) -> Figure:
    """The values of completed trials over the two settings that matter most."""
    having = [
        name for name in data.parameters if sum(name in t.parameters for t in data.comparable) >= 2
    ]
    for first, second in itertools.combinations(having, 2):
        both = [t for t in data.comparable if first in t.parameters and second in t.parameters]
        if len(both) >= TOGETHER * len(data.comparable) and len(both) > 1:
            break
    else:
        return style.message("Fewer than two settings were searched together.")
    drawn = style.sample(both, MOST_LINES)
    drawn.reverse()
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [_shown_value(trial.parameters[first]) for trial in drawn],
        "y": [_shown_value(trial.parameters[second]) for trial in drawn],
        "text": [f"trial {trial.number}: {data.shown(trial.value)}" for trial in drawn],
        "hovertemplate": f"%{{text}}<br>{first} %{{x}}, {second} %{{y}}<extra></extra>",
        "marker": {
            "size": 10,
            "color": style.rounded(trial.value for trial in drawn),
            "colorscale": _scale(data),
            "colorbar": _bar(data),
            "opacity": 0.85,
        },
    }
    layout = {"xaxis": _setting_axis(data, first), "yaxis": _setting_axis(data, second)}
    return style.figure([trace], layout)


def _shown_value(value: Any) -> Any:
    """A parameter as an axis takes it: numbers as they are, everything else by its name."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return value if isinstance(value, int) and not isinstance(value, bool) else setting(value)


def _is_log(data: StudyData, name: str) -> bool:
    leaf = data.leaf(name)
    return leaf is not None and leaf.log


def _is_categorical(name: str, trials: Sequence[TrialRecord]) -> bool:
    values = (trial.parameters[name] for trial in trials if name in trial.parameters)
    return any(isinstance(value, bool) or not isinstance(value, int | float) for value in values)


def _setting_axis(data: StudyData, name: str) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": name}}
    if _is_categorical(name, data.comparable):
        return axis | {"type": "category"}
    if _is_log(data, name):
        return {**axis, **style.LOG_AXIS}
    return axis


def _axis(data: StudyData, name: str, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """An axis of parallel coordinates; names stand at whole numbers, logarithms at powers."""
    values = [trial.parameters[name] for trial in trials]
    if _is_categorical(name, trials):
        leaf = data.leaf(name)
        choices = [setting(each) for each in leaf.choices] if leaf else []
        texts = [setting(value) for value in values]
        known = list(dict.fromkeys([*choices, *sorted(set(texts))]))
        return {
            "label": name,
            "values": [known.index(text) for text in texts],
            "tickvals": list(range(len(known))),
            "ticktext": known,
            "range": [-0.2, len(known) - 0.8],
        }
    if _is_log(data, name) and min(values) > 0:
        logs = [math.log10(value) for value in values]
        low, high = min(logs), max(logs)
        ticks = [low + (high - low) * step / 4 for step in range(5)]
        return {
            "label": name,
            "values": style.rounded(logs),
            "tickvals": style.rounded(ticks, 6),
            "ticktext": [f"{10**tick:.2g}" for tick in ticks],
        }
    return {"label": name, "values": style.rounded(values)}


def _scale(data: StudyData) -> list[list[Any]]:
    better_up = data.study.direction == "maximize"
    colours = [colour for _, colour in style.SCALE]
    ordered = colours if better_up else colours[::-1]
    places = [place for place, _ in style.SCALE]
    ordered_places = places if better_up else [1 - place for place in reversed(places)]
    return [[place, colour] for place, colour in zip(ordered_places, ordered, strict=True)]


def _bar(data: StudyData) -> dict[str, Any]:
    bar: dict[str, Any] = {"thickness": 12, "outlinewidth": 0}
    return bar | {"tickformat": ".0%"} if data.is_accuracy else bar


KINDS = (
    Kind("importances", "What each parameter explains", importances),
    Kind("parallel", "Settings of all completed trials", parallel),
    Kind("slices", "Value over each setting", slices),
    Kind("interaction", "The two settings that matter most, together", interaction),
)
