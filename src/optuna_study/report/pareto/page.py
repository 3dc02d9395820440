"""The Pareto front of a study of two objectives, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.report import values
from optuna_study.report.pareto.choice import ASKED_AS, KNEE, knee
from optuna_study.report.tables import hanging, heading, line_width, table
from optuna_study.store.pareto import front, second_metric
from optuna_study.text import Advice, count, pasteable

if TYPE_CHECKING:
    from optuna_study.report.confirmation.verdict import Confirmed
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
    again = _trained_again(summary)
    confirmed = any(row["number"] in again for row in found)
    rows = [
        [
            str(row["number"]),
            values.metric(study.metric, row["value"]),
            *([_confirmed(study, again.get(row["number"]))] if confirmed else []),
            values.metric(second, row["second_value"]),
            ", ".join(filter(None, [row["baseline"], KNEE if row["knee"] else None])),
        ]
        for row in found
    ]
    names = [
        ASKED_AS.get(each, each).removeprefix("validation_").replace("_", " ")
        for each in (study.metric, second)
    ]
    shown = [names[0], "confirmed", names[1]] if confirmed else names
    return ["trial", *shown, ""], rows


def unconfirmed_sentence(summary: Summary, place: str = "") -> str:
    """What of a front was confirmed, and the command that confirms the others.

    Empty before any confirmation, and when all searched ones are confirmed. `place` are the
    options that lead the command to the same store.
    """
    found, again = front_rows(summary), _trained_again(summary)
    done = sum(row["number"] in again for row in found)
    searched = [row["number"] for row in found if row["baseline"] is None]
    if not done or again.keys() >= set(searched):
        return ""
    said = Advice(
        f"Trained again on fresh seeds: {done} of the front's {count(len(found), 'trial')}; ",
        ["confirm", summary.study.name, "--top", str(len(searched))],
        " does so with all searched ones.",
    )
    return pasteable(said, place)


def front_block(summary: Summary, place: str = "") -> str:
    """The front as a table under its title; empty with one objective."""
    if not summary.weighed:
        return ""
    headers, rows = front_columns(summary)
    drawn = f"{heading(front_title(summary))}\n{table(headers, rows, width=line_width())}"
    said = unconfirmed_sentence(summary, place)
    return f"{drawn}\n{hanging(said, 0)}" if said else drawn


def front_rows(summary: Summary) -> list[dict[str, Any]]:
    """The front for programs, the best by the metric first."""
    if not summary.weighed:
        return []
    along = front(summary.weighed, summary.study)
    corner = knee(along, _second(summary.study))
    again = _trained_again(summary)
    return [
        {
            "number": each.number,
            "value": each.value,
            "confirmed": _mean(again.get(each.number)),
            "second_value": each.second,
            "baseline": each.baseline,
            "knee": each is corner,
        }
        for each in along
    ]


def _trained_again(summary: Summary) -> dict[int, Confirmed]:
    """What fresh runs that ended say of trials, by number; nothing before there is a verdict."""
    verdict = None if summary.confirmation is None else summary.confirmation.verdict
    return {} if verdict is None else {each.trial: each for each in verdict.confirmed}


def _mean(each: Confirmed | None) -> float | None:
    return None if each is None or each.mean is None else each.mean.mean


def _confirmed(study: StudyRecord, each: Confirmed | None) -> str:
    mean = _mean(each)
    return "diverged" if each is not None and mean is None else values.metric(study.metric, mean)


def second_shown(study: StudyRecord, trial: TrialRecord) -> str | None:
    """A trial's value of the second objective for people; None with one objective."""
    second = second_metric(study)
    return None if second is None else values.metric(second, trial.second_value)


def _second(study: StudyRecord) -> str:
    found = second_metric(study)
    assert found is not None
    return found
