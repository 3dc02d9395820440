"""The figure of two objectives: completed trials by both, the Pareto front and its knee."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from optuna_study.config.epoch import COSTS
from optuna_study.report.figures import style
from optuna_study.report.figures.kind import Kind
from optuna_study.report.pareto.choice import knee
from optuna_study.report.values import headline, label, metric
from optuna_study.store.pareto import Weighed, front, second_metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotly.graph_objects import Figure

    from optuna_study.report.figures.study_data import StudyData

MOST_POINTS = 3000
HOVER = 160  # characters of a trial's settings
FEW_DECADES = 3  # on an axis with more of them labels at 2 and 5 would stand too close


def pareto(data: StudyData) -> Figure:
    """The metric over the second objective, a point a completed trial."""
    weighed, second = data.summary.weighed, second_metric(data.study)
    if second is None:
        return style.message("This study has one objective.")
    if not weighed:
        return style.message("No trial has completed yet.")
    along = front(weighed, data.study)
    numbers = {each.number for each in along}
    behind = [each for each in weighed if each.number not in numbers and each.baseline is None]
    beaten = [each for each in weighed if each.number not in numbers and each.baseline is not None]
    markers = (
        ("trial", style.sample(behind, MOST_POINTS), {"color": style.QUIET, "size": 7}),
        ("baseline", beaten, {"color": style.BASELINE, "size": 11, "symbol": "star"}),
        ("Pareto front", along, {"color": style.BEST, "size": 10}),
    )
    traces = [_points(data, second, *each) for each in markers if each[1]]
    traces[-1] |= {"mode": "lines+markers", "line": {"width": 2, "shape": "vh"}}
    ring = {"color": style.BEST, "size": 20, "symbol": "circle-open", "line": {"width": 2}}
    traces.append(_points(data, second, "knee", [knee(along, second)], ring))
    axis: dict[str, Any] = {"title": {"text": label(second)}}
    if second in COSTS and all(each.second > 0 for each in weighed):
        axis |= {"type": "log", **ticks([each.second for each in weighed])}
    layout = {"xaxis": axis, "yaxis": style.value_axis(data.label, accuracy=data.is_accuracy)}
    return style.figure(traces, layout)


def ticks(shown: Sequence[float]) -> dict[str, Any]:
    """Ticks of a logarithmic axis around some numbers, written out; over many decades powers."""
    low, high = min(shown), max(shown)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= FEW_DECADES else (1,)
    steps = [float(f"{f}e{power}") for power in range(first, last + 1) for f in factors]
    below = max((each for each in steps if each <= low), default=steps[0])
    above = min((each for each in steps if each >= high), default=steps[-1])
    kept = [each for each in steps if below <= each <= above]
    return {"tickvals": kept, "ticktext": [f"{each:,.10g}" for each in kept]}


def _points(
    data: StudyData, second: str, name: str, members: Sequence[Weighed], marker: dict[str, Any]
) -> dict[str, Any]:
    of_number = {each.number: each for each in data.trials}
    texts = []
    for each in members:
        who = each.baseline or headline(of_number[each.number].parameters)[:HOVER]
        both = f"{data.shown(each.value)}, {metric(second, each.second)}"
        texts.append(f"trial {each.number}: {both}<br>{style.safe(who)}")
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": style.rounded((each.second for each in members), digits=9),
        "y": style.rounded(each.value for each in members),
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


KINDS = (Kind("pareto", "Two objectives: the Pareto front", pareto),)
