"""Figures of learning curves and of the rates that trials were trained with."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from optuna_study.report.figures import style
from optuna_study.report.figures.kind import Kind
from optuna_study.report.figures.study_data import StudyData, group_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotly.graph_objects import Figure

    from optuna_study.store.records import EpochRecord, TrialRecord

MOST_CURVES = 150  # more of them hide each other
FEW = 30  # curves that need not be faint
MOST_STEPS = 120  # points of a curve
MOST_STEP_POINTS = 400
MOST_SCHEDULES = 10
MOST_BELOW = 1e4  # times smaller than the greatest, and a rate lies below what is drawn
LOG_RANGE = 30.0  # a loss that spans more is drawn on a logarithmic axis


def curves(data: StudyData) -> Figure:
    """The metric by epoch, coloured by end; where a rate changes at once is marked."""
    known = [trial for trial in data.trials if data.curves.get(trial.number)]
    if not known:
        return style.message("No trial has reported an epoch yet.")
    best = data.ranked[0].number if data.ranked else None
    drawn = [trial for trial in style.sample(known, MOST_CURVES) if trial.number != best]
    order = list(style.COLOURS)
    drawn.sort(key=lambda trial: order.index(group_name(trial)))
    traces = []
    for name, members in itertools.groupby(drawn, key=group_name):
        line = {"color": style.COLOURS[name], "width": 1}
        opacity = 0.4 if len(drawn) > FEW else 0.8
        traces.append(_joined(data, list(members), name.replace("_", " "), line, opacity))
    shapes: list[dict[str, Any]] = []
    if best is not None and data.curves.get(best):
        line = {"color": style.BEST, "width": 3}
        traces.append(_joined(data, [data.ranked[0]], f"best (trial {best})", line, 1.0))
        shapes = _rate_lines(data.curves[best])
    changed = _changes(data, drawn)
    if changed:
        traces.append(changed)
    layout = {
        "xaxis": {"title": {"text": "epoch"}},
        "yaxis": style.value_axis(data.label, accuracy=data.is_accuracy),
        "shapes": shapes,
        "hovermode": "closest",
    }
    if len(known) > MOST_CURVES:
        layout["title"] = {
            "text": f"{MOST_CURVES} of {len(known):,} curves, evenly chosen, and the best",
            "font": {"size": 11},
            "x": 1,
            "xanchor": "right",
            "y": 0.01,
            "yanchor": "bottom",
        }
    return style.figure(traces, layout)


def trial_curve(data: StudyData) -> Figure:
    """Loss and accuracy of one trial by epoch, training beside validation."""
    curve = data.curves.get(data.focus, ()) if data.focus is not None else ()
    if not curve:
        return style.message("No curve: the trial has reported no epoch.")
    kept = style.sample(list(curve), 4 * MOST_STEPS)
    at = [epoch.epoch for epoch in kept]
    traces: list[dict[str, Any]] = []
    for axis, quantity in (("", "loss"), ("2", "accuracy")):
        for side, colour in (("train", style.QUIET), ("validation", style.COLOURS["completed"])):
            values = style.rounded(getattr(epoch, f"{side}_{quantity}") for epoch in kept)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(at) <= 30 else "lines",
                    "name": "training" if side == "train" else side,
                    "legendgroup": side,
                    "showlegend": not axis,
                    "x": at,
                    "y": values,
                    "xaxis": f"x{axis}",
                    "yaxis": f"y{axis}",
                    "line": {"color": colour, "width": 2},
                }
            )
    losses = [e for epoch in kept for e in (epoch.train_loss, epoch.validation_loss) if e > 0]
    wide = bool(losses) and max(losses) > LOG_RANGE * min(losses)
    epoch_axis = {"title": {"text": "epoch"}}
    layout = {
        "grid": {"rows": 1, "columns": 2, "pattern": "independent"},
        "xaxis": epoch_axis,
        "xaxis2": epoch_axis,
        "yaxis": {"title": {"text": "loss"}, "type": "log" if wide else "linear"},
        "yaxis2": {"title": {"text": "accuracy"}, "tickformat": ".0%"},
        "shapes": _rate_lines(curve) + _rate_lines(curve, "2"),
    }
    return style.figure(traces, layout)


def steps(data: StudyData) -> Figure:
    """One trial's loss by step: the mean of each few steps, and from the least to the greatest."""
    if data.losses is None:
        return style.message(
            "Kept of baselines and of the best few trials, where their files are."
        )
    x, rows = data.losses.drawn(MOST_STEP_POINTS)
    mean, low, high = (style.rounded(column) for column in rows.T.tolist())
    colour = style.COLOURS["completed"]
    edge: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "hoverinfo": "skip",
        "line": {"width": 0},
        "showlegend": False,
    }
    traces = [
        edge | {"y": low},
        edge
        | {
            "y": high,
            "name": "least to greatest",
            "showlegend": True,
            "fill": "tonexty",
            "fillcolor": "rgba(47,127,209,0.2)",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "x": x,
            "y": mean,
            "name": "mean",
            "line": {"color": colour, "width": 1.5},
            "hovertemplate": "step %{x:.0f}: %{y}<extra></extra>",
        },
    ]
    finite = [value for value in mean if value is not None and value > 0]
    wide = bool(finite) and max(finite) > LOG_RANGE * min(finite)
    layout = {
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"title": {"text": "training loss"}, "type": "log" if wide else "linear"},
    }
    return style.figure(traces, layout)


def _upper_decades(rates: Sequence[float]) -> dict[str, Any]:
    """The part of a logarithmic axis that matters: a cosine's last rate lies decades below."""
    above = [rate for rate in rates if rate > 0]
    if not above:
        return {}
    high = max(above)
    low = max(min(above), high / MOST_BELOW)
    return {"range": [math.log10(low) - 0.1, math.log10(high) + 0.1]}


def schedules(data: StudyData) -> Figure:
    """The learning rate by epoch of the ten best trials."""
    best = [trial for trial in data.ranked if data.curves.get(trial.number)][:MOST_SCHEDULES]
    if not best:
        return style.message("No trial has completed.")
    traces = []
    for rank, trial in reversed(list(enumerate(best))):  # the best above the others
        kept = style.sample(list(data.curves[trial.number]), 4 * MOST_STEPS)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(kept) == 1 else "lines",
                "name": f"{trial.number}: {data.shown(trial.value)}",
                "x": [epoch.epoch for epoch in kept],
                "y": style.rounded((epoch.lr for epoch in kept), 3),
                "line": {
                    "shape": "hv",
                    "width": 3 if rank == 0 else 1.5,
                    "color": style.BEST
                    if rank == 0
                    else style.SEQUENCE[rank % len(style.SEQUENCE)],
                },
            }
        )
    layout = {
        "xaxis": {"title": {"text": "epoch"}},
        "yaxis": {
            "title": {"text": "learning rate"},
            **style.LOG_AXIS,
            **_upper_decades([epoch.lr for trial in best for epoch in data.curves[trial.number]]),
        },
        "legend": {
            "orientation": "h",
            "y": -0.25,
            "yanchor": "top",
            "x": 0,
            "traceorder": "reversed",
        },
        "height": 430,
    }
    return style.figure(traces, layout)


def rate_changes(curve: Sequence[EpochRecord]) -> list[tuple[float, float]]:
    """Where the learning rate steps, as (between which epochs, new rate).

    A rate that changes at most epochs follows a smooth schedule: it has no steps to mark.
    """
    changes = [
        (after.epoch - 0.5, after.lr)
        for before, after in itertools.pairwise(curve)
        if after.lr != before.lr
    ]
    return changes if len(changes) <= max(1, len(curve) // 3) else []


def _joined(
    data: StudyData, trials: Sequence[TrialRecord], name: str, line: dict[str, Any], opacity: float
) -> dict[str, Any]:
    """The curves of several trials as one trace, with gaps between them."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for trial in trials:
        kept = style.sample(list(data.curves[trial.number]), MOST_STEPS)
        x += [*(epoch.epoch for epoch in kept), None]
        y += [*style.rounded(epoch.value for epoch in kept), None]
        numbers += [trial.number] * len(kept) + [None]
    alone = all(len(data.curves[trial.number]) == 1 for trial in trials)
    return {
        "type": "scatter",
        "mode": "lines+markers" if alone else "lines",
        "name": name,
        "x": x,
        "y": y,
        "customdata": numbers,
        "hovertemplate": "trial %{customdata}, epoch %{x}: %{y}<extra></extra>",
        "line": line,
        "opacity": opacity,
    }


def _changes(data: StudyData, trials: Sequence[TrialRecord]) -> dict[str, Any] | None:
    """Where the rates of the best of the drawn trials step, as points on their curves."""
    drawn = {trial.number for trial in trials}
    best = [trial for trial in data.ranked if trial.number in drawn][:MOST_SCHEDULES]
    points = [
        (at + 0.5, epoch.value, f"trial {trial.number}: rate {rate:.3g} from epoch {epoch.epoch}")
        for trial in best
        for at, rate in rate_changes(data.curves[trial.number])
        for epoch in data.curves[trial.number]
        if epoch.epoch == at + 0.5
    ]
    if not points:
        return None
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "rate changes (ten best)",
        "x": [at for at, _, _ in points],
        "y": style.rounded(value for _, value, _ in points),
        "text": [text for _, _, text in points],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"symbol": "diamond-open", "size": 7, "color": style.CONFIRMED},
    }


def _rate_lines(curve: Sequence[EpochRecord], axis: str = "") -> list[dict[str, Any]]:
    return [
        {
            "type": "line",
            "xref": f"x{axis}",
            "yref": f"y{axis} domain",
            "x0": at,
            "x1": at,
            "y0": 0,
            "y1": 1,
            "line": {"color": style.QUIET, "width": 1, "dash": "dot"},
            "label": {
                "text": f"lr {rate:.3g}",
                "textposition": "end",
                "textangle": 0,
                "xanchor": "left",
                "font": {"size": 10, "color": style.QUIET},
            },
        }
        for at, rate in rate_changes(curve)
    ]


KINDS = (
    Kind("curves", "Learning curves", curves),
    Kind("trial", "Loss and accuracy", trial_curve, of_a_trial=True),
    Kind("steps", "Training loss by step", steps, of_a_trial=True),
    Kind("schedules", "Learning rates of the ten best", schedules),
)
