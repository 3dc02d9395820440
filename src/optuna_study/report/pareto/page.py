"""The Pareto front of a study of two objectives, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.report import values
from optuna_study.report.pareto.choice import ASKED_AS, KNEE, knee
from optuna_study.report.tables import heading, line_width, table
from optuna_study.store.pareto import front, second_metric

if TYPE_CHECKING:
    from optuna_study.report.summary import Summary
    from optuna_study.store.records import StudyRecord, TrialRecord


def front_title(summary: Summary) -> str:
    """What a table of the front is headed by."""
    names = [values.label(each) for each in (summary.study.metric, _second(summary.study))]
    return f"Pareto front of {names[0]} and {names[1]}"


def front_columns(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """The front for people, the best by the metric first."""
    study, second = summary.study, _second(summary.study)
    rows = [
        [
            str(row["number"]),
            values.metric(study.metric, row["value"]),
            values.metric(second, row["second_value"]),
            ", ".join(filter(None, [row["baseline"], KNEE if row["knee"] else None])),
        ]
        for row in front_rows(summary)
    ]
    names = [ASKED_AS.get(each, each).replace("_", " ") for each in (study.metric, second)]
    return ["trial", *names, ""], rows


def front_block(summary: Summary) -> str:
    """The front as a table under its title; empty with one objective."""
    if not summary.weighed:
        return ""
    headers, rows = front_columns(summary)
    return f"{heading(front_title(summary))}\n{table(headers, rows, width=line_width())}"


def front_rows(summary: Summary) -> list[dict[str, Any]]:
    """The front for programs, the best by the metric first."""
    if not summary.weighed:
        return []
    along = front(summary.weighed, summary.study)
    corner = knee(along, _second(summary.study))
    return [
        {
            "number": each.number,
            "value": each.value,
            "second_value": each.second,
            "baseline": each.baseline,
            "knee": each is corner,
        }
        for each in along
    ]


def second_shown(study: StudyRecord, trial: TrialRecord) -> str | None:
    """A trial's value of the second objective for people; None with one objective."""
    second = second_metric(study)
    return None if second is None else values.metric(second, trial.second_value)


def _second(study: StudyRecord) -> str:
    found = second_metric(study)
    assert found is not None
    return found
