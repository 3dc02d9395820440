"""Values as people read them: numbers, percentages, durations, settings and small curves."""

from __future__ import annotations

import itertools
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from optuna_study.config.schedule import breakpoints_text
from optuna_study.store.records import StudyState
from optuna_study.text import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna_study.config.settings import TrainConfig
    from optuna_study.store.records import EpochRecord

ACCURACY = "validation_accuracy"
SHARES = (ACCURACY, "balanced_accuracy")
"""Metrics that people read in per cent."""
BARS = "▁▂▃▄▅▆▇█"


def number(value: float | None) -> str:
    """A number with four significant digits, without a needless exponent or trailing zeros.

    >>> number(0.003), number(12345.678), number(None), number(float("nan"))
    ('0.003', '12345.7', '-', 'nan')
    """
    if value is None:
        return "-"
    return f"{value:.6g}" if abs(value) >= 1000 else f"{value:.4g}"


def metric(name: str, value: float | None) -> str:
    """A value of the study's metric: accuracies in per cent, losses with four decimals.

    >>> metric("validation_accuracy", 0.8125), metric("validation_loss", 0.51239)
    ('81.2 %', '0.5124')
    >>> metric("parameters", 61100840.0), metric("prediction_seconds", 0.12)
    ('61,100,840', '0.12 s')
    """
    if value is None:
        return "-"
    if name == "parameters":
        return f"{value:,.0f}"
    if name == "prediction_seconds":
        return f"{number(value)} s"
    if name in SHARES and math.isfinite(value):
        return percent(value)
    return f"{value:.4f}"


def label(name: str) -> str:
    """A metric, or what a model costs, as people call it.

    >>> label("prediction_seconds"), label("log_loss")
    ('seconds for 1,000 pictures', 'log loss')
    """
    return LABELS.get(name, name.replace("_", " "))


LABELS = {"prediction_seconds": "seconds for 1,000 pictures"}

MEASURES = {
    "validation_accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
}
"""What is recorded of the validation pictures at every epoch, whichever of them ranks."""


def measures(epoch: EpochRecord) -> str:
    """The recorded measures of an epoch; those that earlier versions did not record are left out.

    >>> from optuna_study.store.records import EpochRecord
    >>> measures(EpochRecord(1, 0.9, 1.0, 0.9, 0.4, 0.9, 0.1, 1.0, 2.0, 0.5, 0.45, 0.3))
    'accuracy 90.0 %, balanced accuracy 50.0 %, macro F1 45.0 %, log loss 0.3000'
    """
    found = {name: getattr(epoch, name) for name in MEASURES}
    shown = {
        name: f"{value:.4f}" if name == "log_loss" else percent(value)
        for name, value in found.items()
        if not math.isnan(value)
    }
    return ", ".join(f"{MEASURES[name]} {text}" for name, text in shown.items())


def grain(pictures: int | None) -> str:
    """How coarse an accuracy on so few pictures is, in a sentence; empty where there are enough.

    >>> grain(29), grain(200), grain(None)
    ('One of the 29 validation pictures is 3.4 points.', '', '')
    """
    if not pictures or pictures > FINE:
        return ""
    return f"One of the {pictures} validation pictures is {100 / pictures:.1f} points."


FINE = 100  # from so many pictures on one of them is less than a point


def difference(name: str, ours: float, theirs: float, direction: str) -> str:
    """How much better (or worse) a value of the metric is than another.

    >>> difference("validation_accuracy", 0.83, 0.8, "maximize")
    '3.0 points better'
    >>> difference("validation_loss", 0.5, 0.4, "minimize")
    '0.1000 worse'
    """
    gain = ours - theirs if direction == "maximize" else theirs - ours
    if gain == 0:
        return "the same"
    size = f"{100 * abs(gain):.1f} points" if name in SHARES else f"{abs(gain):.4f}"
    return f"{size} {'better' if gain > 0 else 'worse'}"


def moment(seconds: float | None) -> str | None:
    """A time in local time, written as `optuna trials` writes it.

    >>> moment(None) is None
    True
    """
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds)).strftime("%Y-%m-%d %H:%M:%S")


def elapsed(started: float | None, completed: float | None) -> str | None:
    """The time between two moments, written as `optuna trials` writes it.

    >>> elapsed(10.0, 75.25)
    '0:01:05.250000'
    """
    if started is None or completed is None:
        return None
    return str(timedelta(seconds=round(completed - started, 6)))


ZEROS = {
    "training_size": "as image_size",
    "picture_limit": "all",
    "gradient_clip": "no limit",
    "ema": "none",
    "patience": "none",
}
"""What a 0 means of settings where it is not how much there is."""


def setting(value: Any, name: str = "") -> str:
    """A setting's value in words; `name` says which setting, so that a 0 can be explained.

    A list is one of learning-rate breakpoints.

    >>> setting(0.00123456), setting("relu"), setting(((18, 0.003),)), setting(())
    ('0.001235', 'relu', 'after 18: 0.003', 'none')
    >>> setting(2.2222, "warmup_epochs"), setting(0.04, "warmup_epochs")
    ('2.2', '0.04')
    >>> setting(0, "training_size")
    'as image_size'
    """
    if name in ZEROS and value == 0:
        return ZEROS[name]
    if isinstance(value, float):  # most are
        rough = name.endswith("epochs") and value >= 0.1  # less would become 0, which is none
        return number(round(value, 1) if rough else value)
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "-"
    if isinstance(value, list | tuple):
        return breakpoints_text(value)
    return str(value)


def setting_rows(names: Iterable[str], *configs: TrainConfig) -> list[list[str]]:
    """A row a setting: its name, and what it is in each configuration."""
    from optuna_study.config.settings import get_setting  # 15 ms that a list does not need

    return [
        [name, *(setting(get_setting(each, name), name) for each in configs)] for name in names
    ]


def headline(parameters: Mapping[str, Any]) -> str:
    """The parameters of a trial in one line: names bare, numbers with their name.

    >>> headline({"activation": "relu", "lr": 0.00312, "normalisation": "none", "batch_size": 16})
    'relu, lr 0.00312, batch_size 16'
    """
    parts = []
    for name, value in parameters.items():
        if name.startswith("breakpoint") or value in ("none", 0):
            continue
        bare = isinstance(value, str)
        parts.append(value if bare else f"{name} {setting(value, name)}")
    return ", ".join(parts)


def sparkline(values: Sequence[float], *, width: int, low: float, high: float) -> str:
    """A curve in at most `width` characters between two fixed bounds; what is not finite is a dot.

    >>> sparkline([0.0, 0.5, 1.0, float("nan")], width=8, low=0, high=1)
    '▁▅█·'
    """
    return "".join(_bar(value, low, high) for value in _thinned(values, width))


def standing(state: StudyState, *, running: int, met: bool, halted: bool = False) -> str:
    """How a study stands: what its workers were told, that it failed or that its budget is met.

    >>> standing(StudyState.STOPPING, running=2, met=False)
    'stopping'
    >>> standing(StudyState.STOPPING, running=0, met=False)
    'stopped'
    >>> standing(StudyState.ACTIVE, running=0, met=False, halted=True)
    'too many failures'
    """
    if met:
        return "done"
    if halted and state is StudyState.ACTIVE:
        return "too many failures"
    if state is StudyState.STOPPING:
        return "stopping" if running else "stopped"
    return state.value


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "·"
    share = (value - low) / (high - low) if high > low else 0.5
    return BARS[min(len(BARS) - 1, max(0, int(share * len(BARS))))]


def _thinned(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    edges = [round(index * len(values) / width) for index in range(width + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
