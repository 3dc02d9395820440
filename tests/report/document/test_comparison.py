"""Several studies on one page."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import html5lib
import pytest

from optuna_study.report.confirmation.page import Confirmation
from optuna_study.report.confirmation.verdict import Confirmed, Interval, Outcome, Verdict
from optuna_study.report.document.comparison import comparison_document
from optuna_study.report.document.markdown import to_markdown
from optuna_study.report.document.write import report_text
from optuna_study.report.figures.study_data import StudyData, load_study_data

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.records import TrialRecord


@pytest.fixture(scope="module")
def data(finished_study: Any, finished_workspace: Workspace) -> StudyData:
    return load_study_data(finished_study.store, finished_study.study, finished_workspace)


def other(data: StudyData, **changes: Any) -> StudyData:
    """The same study under the name `second`, with columns of its record changed."""
    definition = {**data.study.definition, "name": "second"}
    definition["space"] = [
        {**each, "high": 0.3} if each["setting"] == "lr" else each for each in definition["space"]
    ]
    study = dataclasses.replace(data.study, name="second", definition=definition, **changes)
    return dataclasses.replace(data, summary=dataclasses.replace(data.summary, study=study))


def confirmed(data: StudyData, mean: float, half: float | None) -> StudyData:
    """The study with a confirmation of its best, of this share of held-out pictures."""
    best: TrialRecord | None = data.summary.best
    assert best is not None
    test = Interval(mean) if half is None else Interval(mean, mean - half, mean + half)
    winner = Confirmed(best.number, False, 3, 0, Interval(0.75), test)
    nothing = Outcome.NOT_DISTINGUISHABLE
    verdict = Verdict(nothing, winner, None, None, None, 100, None, None, (winner,))
    found = Confirmation(3, 3, verdict, {best.number: best})
    return dataclasses.replace(data, summary=dataclasses.replace(data.summary, confirmation=found))


def test_the_page_shows_both_searches_on_the_same_axes_and_what_differs(data: StudyData) -> None:
    second = other(data)
    page = report_text(data, "html", second)
    content = json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])
    by_trial, by_training = content["figures"]
    assert {trace["name"] for trace in by_trial["data"]} == {"small", "second"}
    lines = [trace for trace in by_trial["data"] if trace["mode"] == "lines"]
    assert [trace["y"] for trace in lines] == [[0.6, 0.7, 0.8, 0.8]] * 2
    assert by_training["data"][0]["y"] == [0.6, 0.7, 0.8, 0.8]
    spent = by_training["data"][0]["x"]
    assert spent == sorted(spent)
    assert spent[-1] == pytest.approx(sum(trial.worked for trial in data.trials), rel=1e-3)
    html5lib.HTMLParser(strict=True).parse(page.partition("<script>")[0] + "</body></html>")
    text = report_text(data, "md", second)
    assert "| space.lr.high | 0.1 | 0.3 |" in text
    assert "| small | trial 5 | 80.0 % | - | - | 6 |" in text
    assert "| lr | 70.0 % |" not in text.partition("## What mattered")[0]
    assert "small: Best: trial 5" in text


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ((0.9, 0.03), (0.8, 0.04), "The winner of small is better than that of second: 90.0 %"),
        ((0.8, 0.04), (0.9, 0.03), "The winner of second is better than that of small: 90.0 %"),
        ((0.8, 0.03), (0.84, 0.04), "winners of second and small are not distinguishable: 84.0 %"),
        ((0.9, None), (0.8, 0.04), "of single runs no interval is known"),
    ],
)
def test_held_out_pictures_say_whose_winner_is_better(
    data: StudyData, ours: Any, theirs: Any, told: str
) -> None:
    both = (confirmed(data, *ours), confirmed(other(data), *theirs))
    assert told in to_markdown(comparison_document(both))


def test_a_difference_has_its_interval(data: StudyData) -> None:
    both = (confirmed(data, 0.9, 0.03), confirmed(other(data), 0.8, 0.04))
    text = to_markdown(comparison_document(both))
    assert "(+10.0 points, 95 % interval +5.0 to +15.0)" in text


def test_studies_that_hold_other_pictures_out_are_not_compared(data: StudyData) -> None:
    def counted(of: StudyData, train: int, validation: int, test: int) -> StudyData:
        sides = {"train": train, "validation": validation, "test": test}
        study = dataclasses.replace(of.study, environment={"side_counts": sides})
        return dataclasses.replace(of, summary=dataclasses.replace(of.summary, study=study))

    first = counted(confirmed(data, 0.9, 0.03), 640, 160, 200)
    second = confirmed(other(data), 0.8, 0.04)
    apart = to_markdown(comparison_document((first, counted(second, 600, 190, 210))))
    assert (
        "The studies part the same pictures differently (small has 160 for validation and 200 "
        "held out; second has 190 for validation and 210 held out)"
    ) in apart
    assert "is better than" not in apart
    fewer = to_markdown(comparison_document((first, counted(second, 64, 160, 200))))
    assert "is better than" in fewer, "less to train on holds out the same pictures"


def test_what_does_not_compare_is_not_compared(data: StudyData) -> None:
    text = to_markdown(comparison_document((data, other(data, fingerprint="other"))))
    assert "The studies are of different pictures" in text
    text = to_markdown(comparison_document((data, other(data, metric="log_loss"))))
    assert "They rank trials by different figures" in text
    text = to_markdown(comparison_document((confirmed(data, 0.9, 0.1), other(data))))
    assert "Without confirmation runs of second there is no verdict" in text
