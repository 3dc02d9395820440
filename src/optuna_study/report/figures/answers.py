"""Figures of a trial's answers: confusion, worst mistakes, one picture's outputs, a plane."""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, Any

from optuna_study.report.figures import style
from optuna_study.report.figures.kind import Kind
from optuna_study.text import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from plotly.graph_objects import Figure

    from optuna_study.report.figures.study_data import StudyData

WRITTEN_COUNTS = 15  # classes; beyond, counts would overlap
STRONG = 0.5  # the share from which on a cell's colour needs white text
NAMED_CLASSES = 40
COLUMNS = 4  # of mistakes
ABSENT = (
    "Not stored: the trial ended before answers were kept, or its files lie on another machine."
)


def confusion(data: StudyData) -> Figure:
    """Validation pictures by class (rows) and answer (columns), coloured by each row's shares."""
    found = data.predictions
    if found is None:
        return style.message(ABSENT)
    matrix = found.confusion
    totals = matrix.sum(axis=1, keepdims=True).clip(min=1)
    shares = [style.rounded(row, 3) for row in (matrix / totals).tolist()]
    names = _distinct(found.classes)
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": shares,
        "x": names,
        "y": names,
        "customdata": matrix.tolist(),
        "colorscale": [[0.0, "rgba(47,127,209,0.04)"], [1.0, "rgba(47,127,209,1)"]],
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{customdata} of %{y} called %{x}<extra></extra>",
    }
    traces = [trace]
    if len(names) <= WRITTEN_COUNTS:
        traces += _counts(matrix, shares, names)
    named = len(names) <= NAMED_CLASSES
    layout = {
        "height": min(720, 200 + 34 * len(names)),
        "showlegend": False,
        "xaxis": {
            "title": {"text": "answer"},
            "type": "category",
            "showgrid": False,
            "showticklabels": named,
        },
        "yaxis": {
            "title": {"text": "true class"},
            "type": "category",
            "autorange": "reversed",
            "showgrid": False,
            "showticklabels": named,
        },
    }
    return style.figure(traces, layout)


def _counts(
    matrix: NDArray[np.int64], shares: Sequence[Sequence[float | None]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """The counts above 0 as texts: white on the strongly coloured cells, else as all texts are."""
    traces = []
    for strong in (True, False):
        cells = [
            (row, column)
            for row in range(len(names))
            for column in range(len(names))
            if matrix[row, column] and ((shares[row][column] or 0) > STRONG) == strong
        ]
        font = {"textfont": {"color": "#ffffff"}} if strong else {}
        traces.append(
            {
                "type": "scatter",
                "mode": "text",
                "x": [names[column] for _, column in cells],
                "y": [names[row] for row, _ in cells],
                "text": [str(matrix[cell]) for cell in cells],
                "hoverinfo": "skip",
                **font,
            }
        )
    return traces


def mistakes(data: StudyData) -> Figure:
    """The pictures that the model got wrong with the most confidence."""
    found = data.predictions
    if found is None or found.mistakes is None:
        return style.message(ABSENT)
    worst = found.mistakes
    count = len(worst.images)
    if not count:
        return style.message("It got no validation picture wrong.")
    rows = math.ceil(count / COLUMNS)
    layout: dict[str, Any] = {
        "grid": {"rows": rows, "columns": COLUMNS, "pattern": "independent", "ygap": 0.45},
        "height": 60 + 190 * rows,
        "margin": {"l": 8, "r": 8, "t": 48, "b": 8},
        "annotations": [],
    }
    traces = []
    for index in range(count):
        axis = str(index + 1) if index else ""
        asked = (found.classes[int(n[index])] for n in (worst.truths, worst.answers))
        truth, answer = map(style.safe, asked)
        text = f"{truth}, called<br>{answer} ({percent(worst.chances[index], 0)})"
        traces.append(
            {
                "type": "image",
                "source": _png(worst.images[index]),
                "xaxis": f"x{axis}",
                "yaxis": f"y{axis}",
                "hoverinfo": "skip",
            }
        )
        hidden = {"visible": False, "showgrid": False}
        layout[f"xaxis{axis}"] = hidden
        layout[f"yaxis{axis}"] = hidden | {"scaleanchor": f"x{axis}", "autorange": "reversed"}
        layout["annotations"].append(
            {
                "text": text,
                "xref": f"x{axis} domain",
                "yref": f"y{axis} domain",
                "x": 0.5,
                "y": 1.02,
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 11},
            }
        )
    return style.figure(traces, layout)


def outputs(data: StudyData) -> Figure:
    """What the model gives for one training picture; the true class's output is green."""
    found = data.predictions
    if found is None or found.outputs is None:
        return style.message(
            "Kept where the study file names a training picture, [search] outputs_of."
        )
    one, names = found.outputs, _distinct(found.classes)
    colours = [style.COLOURS["completed"]] * len(names)
    colours[one.truth] = style.BEST
    trace = {
        "type": "bar",
        "x": names,
        "y": style.rounded(one.values.tolist()),
        "marker": {"color": colours},
        "hovertemplate": "%{x}: %{y}<extra></extra>",
    }
    layout: dict[str, Any] = {
        "showlegend": False,
        "margin": style.MARGIN | {"t": 96},
        "xaxis": {
            "title": {"text": f"class; training picture {one.record} is of the green one"},
            "type": "category",
            "showgrid": False,
            "showticklabels": len(names) <= NAMED_CLASSES,
        },
        "yaxis": {"title": {"text": "output"}},
    }
    if min(one.image.shape[:2]) > 1:
        picture = {"source": _png(one.image), "sizex": 0.25, "sizey": 0.25, "x": 1, "y": 1.02}
        place = {"xref": "paper", "yref": "paper", "xanchor": "right", "yanchor": "bottom"}
        layout["images"] = [picture | place]
    return style.figure([trace], layout)


def boundary(data: StudyData) -> Figure:
    """What the model answers everywhere, where the data are points of a plane."""
    found = data.predictions
    if found is None or found.plane is None:
        return style.message("Only of data that are points of a plane, and of the best trials.")
    image = _areas(found.plane.answers, found.plane.chances, len(found.classes))
    traces: list[dict[str, Any]] = [
        {"type": "image", "source": _png(image), "hoverinfo": "skip"},
        *(
            {
                "type": "scatter",
                "mode": "markers",
                "x": found.plane.points[found.plane.points[:, 2] == index, 0].tolist(),
                "y": found.plane.points[found.plane.points[:, 2] == index, 1].tolist(),
                "name": name,
                "hoverinfo": "name",
                "marker": {
                    "color": _colour(index),
                    "size": 5,
                    "line": {"color": "#ffffff", "width": 0.5},
                },
            }
            for index, name in enumerate(found.classes[:WRITTEN_COUNTS])
        ),
    ]
    ticks = {"tickvals": [0, 127.5, 255], "ticktext": ["-1", "0", "1"], "showgrid": False}
    layout = {
        "height": 480,
        "xaxis": ticks | {"title": {"text": "x"}},
        "yaxis": ticks | {"title": {"text": "y"}, "scaleanchor": "x", "autorange": True},
    }
    return style.figure(traces, layout)


def _areas(
    answers: NDArray[np.uint8], chances: NDArray[np.uint8], classes: int
) -> NDArray[np.uint8]:
    """Each point in its class's colour, fainter where the model is less sure; (256, 256, 3)."""
    import numpy as np

    colours = np.array([_rgb(_colour(index)) for index in range(classes)], dtype=float)
    floor = 1 / classes
    certainty = np.clip((chances / 255 - floor) / (1 - floor), 0, 1)
    share = (0.25 + 0.75 * certainty)[..., None]
    mixed = 255 - share * (255 - colours[answers])
    areas: NDArray[np.uint8] = mixed.round().astype(np.uint8)
    return areas


def _colour(index: int) -> str:
    return style.SEQUENCE[index % len(style.SEQUENCE)]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _png(image: NDArray[np.uint8]) -> str:
    """Pixels (height, width, channels) as a data address; of two channels, blue is 0."""
    import numpy as np
    from PIL import Image

    height, width, channels = image.shape
    if channels == 2:
        image = np.concatenate((image, np.zeros((height, width, 1), np.uint8)), axis=2)
    picture = Image.fromarray(image[..., 0] if channels == 1 else image).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _distinct(names: Any) -> list[str]:
    """Class names as an axis needs them: two of one text would share a row."""
    counted: dict[str, int] = {}
    distinct = []
    for name in names:
        counted[name] = counted.get(name, 0) + 1
        distinct.append(name if counted[name] == 1 else f"{name} ({counted[name]})")
    return distinct


KINDS = (
    Kind("confusion", "Confusion", confusion, of_a_trial=True),
    Kind("mistakes", "Worst mistakes", mistakes, of_a_trial=True),
    Kind("outputs", "Outputs for one training picture", outputs, of_a_trial=True),
    Kind("boundary", "Answers everywhere", boundary, of_a_trial=True),
)
