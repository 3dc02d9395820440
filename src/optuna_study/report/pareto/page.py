"""The Pareto front of a study of two objectives, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.report import values
from optuna_study.report.pareto.choice import ASKED_AS, KNEE, knee
from optuna_study.report.tables import heading, line_width, paragraph, table
from optuna_study.store.pareto import front, second_metric
from optuna_study.text import count

if TYPE_CHECKING:
    from optuna_study.report.summary import Summary
    from optuna_study.store.records import StudyRecord, TrialRecord


def front_title(summary: Summary) -> str:
    """What a table of the front is headed by."""
    names = [values.label(each) for each in (summary.study.metric, _second(summary.study))]
    return f"Pareto front of {names[0]} and {names[1]}"


def front_columns(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """The front for people, the best by the metric first; once there are any, confirmed means."""
    study, second = summary.study, _second(summary.study)
    found = front_rows(summary)
    confirmed = any(row["confirmed"] is not None for row in found)
    rows = [
        [
            str(row["number"]),
            values.metric(study.metric, row["value"]),
            *([values.metric(study.metric, row["confirmed"])] if confirmed else []),
            values.metric(second, row["second_value"]),
            ", ".join(filter(None, [row["baseline"], KNEE if row["knee"] else None])),
        ]
        for row in found
    ]
    names = [ASKED_AS.get(each, each).replace("_", " ") for each in (study.metric, second)]
    names.insert(1, "confirmed")
    return ["trial", *(names if confirmed else names[::2]), ""], rows


def unconfirmed_sentence(summary: Summary) -> str:
    """What of a front was confirmed and what confirms the others; empty before, or of a whole."""
    found = front_rows(summary)
    done = sum(row["confirmed"] is not None for row in found)
    searched = [row["confirmed"] for row in found if row["baseline"] is None]
    if not done or None not in searched:
        return ""
    return (
        f"Trained again on fresh seeds: {done} of the front's {count(len(found), 'trial')}; "
        f"`confirm {summary.study.name} --top {len(searched)}` does so with all searched ones."
    )


def front_block(summary: Summary) -> str:
    """The front as a table under its title; empty with one objective."""
    if not summary.weighed:
        return ""
    headers, rows = front_columns(summary)
    drawn = f"{heading(front_title(summary))}\n{table(headers, rows, width=line_width())}"
    said = unconfirmed_sentence(summary)
    return f"{drawn}\n{paragraph(said)}" if said else drawn


def front_rows(summary: Summary) -> list[dict[str, Any]]:
    """The front for programs, the best by the metric first."""
    if not summary.weighed:
        return []
    along = front(summary.weighed, summary.study)
    corner = knee(along, _second(summary.study))
    verdict = None if summary.confirmation is None else summary.confirmation.verdict
    confirmed = {} if verdict is None else {each.trial: each.mean for each in verdict.confirmed}
    return [
        {
            "number": each.number,
            "value": each.value,
            "confirmed": mean.mean if (mean := confirmed.get(each.number)) else None,
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
