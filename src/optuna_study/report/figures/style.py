"""How figures look: colours by end, one template for light and one for dark pages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plotly.graph_objects import Figure

COLOURS: Mapping[str, str] = {
    "completed": "#2f7fd1",
    "pruned": "#9aa3af",
    "diverged": "#e08a1e",
    "out_of_memory": "#a55fc4",
    "failed": "#d64545",
    "running": "#2ca89a",
    "waiting": "#c9ced6",
}
"""By how a trial ended; readable on white and on near black."""

BASELINE, BEST, CONFIRMED, QUIET = "#e0559b", "#17a34a", "#0f9d9d", "#8a94a3"
SEQUENCE = ("#2f7fd1", "#e08a1e", "#2ca89a", "#a55fc4", "#d64545", "#7a8b2f", "#c2628b", "#5c6fd6")
SCALE = (
    (0.0, "#6a4c93"),
    (0.35, "#3a78c2"),
    (0.65, "#2ca89a"),
    (1.0, "#f2c14e"),
)
"""From worse to better values of the metric."""

LOG_AXIS: Mapping[str, Any] = {"type": "log", "dtick": "D2", "exponentformat": "none"}

HEIGHT = 380
MARGIN = {"l": 64, "r": 16, "t": 40, "b": 48}


def template(*, dark: bool) -> dict[str, Any]:
    """What every figure shares on a light or a dark page."""
    ink, grid = ("#d5dae1", "#39424f") if dark else ("#2b3440", "#e3e7ec")
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zerolinecolor": grid,
        "automargin": True,
        "title": {"font": {"size": 12}, "standoff": 8},
    }
    return {
        "layout": {
            "font": {"family": "system-ui, sans-serif", "size": 12, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)" if dark else "#ffffff",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(SEQUENCE),
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {"font": {"size": 12}, "align": "left"},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "annotationdefaults": {"font": {"size": 11}},
        }
    }


def figure(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any] | None = None) -> Figure:
    """A plotly figure of traces, in the light template."""
    from plotly.graph_objects import Figure

    common = {"height": HEIGHT, "margin": MARGIN, "template": template(dark=False)}
    return Figure({"data": list(traces), "layout": common | dict(layout or {})})


def message(text: str) -> Figure:
    """An empty figure that says why there is nothing to draw."""
    note = {"text": text, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    hidden = {"visible": False}
    layout = {"annotations": [note], "xaxis": hidden, "yaxis": hidden, "height": 160}
    return figure([], layout)


def value_axis(label: str, *, accuracy: bool) -> dict[str, Any]:
    """The axis of the study's metric."""
    axis: dict[str, Any] = {"title": {"text": label}}
    return axis | {"tickformat": ".0%"} if accuracy else axis


def rounded(values: Iterable[float | None], digits: int = 4) -> list[float | None]:
    """Numbers with so many significant digits, for small files; None for what is not finite."""
    return [
        None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")
        for value in values
    ]


def safe(text: str) -> str:
    """A text as a label: names come from people's files, and none of them is to be a tag."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def sample(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many items, evenly spread, the first and the last among them.

    >>> sample(range(10), 4), sample("ab", 4)
    ([0, 3, 6, 9], ['a', 'b'])
    """
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]
