"""What is chosen from a planted Pareto front, and how it is shown."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.errors import NotFoundError, UsageError
from optuna_study.paths import Workspace
from optuna_study.report.curves.read import Newest
from optuna_study.report.document.write import report_text
from optuna_study.report.figures.study_data import load_study_data
from optuna_study.report.load import load_summary
from optuna_study.report.notes import study_note
from optuna_study.report.pages import study_page, trials_table
from optuna_study.report.pareto.choice import choose, knee
from optuna_study.report.pareto.page import (
    front_block,
    front_columns,
    front_rows,
    unconfirmed_sentence,
)
from optuna_study.store.pareto import Weighed
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, Confirmation, End, EndKind, NoTrialReason
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.studies import load_study, set_confirmation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("pictures", "prefer", "chosen"),
    [
        (200, "accuracy", 2),
        (200, "validation_accuracy", 2),
        (200, "knee", 3),
        (200, "parameters", 3),  # half a point is within the 1.9 points of 200 pictures
        (20_000, "parameters", 2),  # and without the 0.2 of 20,000
        (None, "parameters", 1),
    ],
)
@pytest.mark.slow
def test_a_preference_names_a_trial_of_the_front(
    weighed_study: Any, pictures: int | None, prefer: str, chosen: int
) -> None:
    summary = load_summary(weighed_study.store, weighed_study.study)
    sides = {"side_counts": {"validation": pictures}} if pictures else {}
    study = dataclasses.replace(weighed_study.study, environment=sides)
    assert choose(dataclasses.replace(summary, study=study), prefer) == chosen


def test_what_cannot_be_preferred_is_named_with_what_can(
    weighed_study: Any, store_study: Any, tmp_path: Path
) -> None:
    summary = load_summary(weighed_study.store, weighed_study.study)
    with pytest.raises(UsageError, match="give one of accuracy, parameters, knee"):
        choose(summary, "seconds")
    nothing = dataclasses.replace(summary, weighed=(), best=None)
    with pytest.raises(NotFoundError, match="no trial of 'small' has completed"):
        choose(nothing, "knee")
    one = store_study(tmp_path / "one")
    with pytest.raises(UsageError, match="has one objective"):
        choose(load_summary(one.store, one.study), "knee")


@pytest.mark.parametrize(
    ("points", "corner"),
    [
        ([(0.9, 1000.0)], 0),
        ([(0.9, 1000.0), (0.5, 10.0)], 0),
        ([(0.9, 1000.0), (0.7, 100.0), (0.5, 10.0)], 0),  # straight on a logarithmic axis
        ([(0.9, 1000.0), (0.85, 100.0), (0.5, 10.0)], 1),
        ([(0.9, 1000.0), (0.89, 900.0), (0.85, 20.0), (0.5, 10.0)], 2),
    ],
)
def test_the_knee_is_farthest_from_the_line_between_the_ends(
    points: list[tuple[float, float]], corner: int
) -> None:
    along = [Weighed(number, *point) for number, point in enumerate(points)]
    assert knee(along, "parameters").number == corner


def test_the_front_stands_on_every_page(weighed_study: Any, tmp_path: Path) -> None:
    store, study = weighed_study.store, weighed_study.study
    summary = load_summary(store, study)
    block = front_block(summary)
    assert "Pareto front of validation accuracy and parameters" in block
    lines = [line.split() for line in block.splitlines()[2:]]
    assert lines == [
        ["2", "92.0", "%", "10,000"],
        ["3", "91.5", "%", "1,000", "knee"],
        ["1", "70.0", "%", "100", "wild"],
    ]
    assert [(row["number"], row["knee"]) for row in front_rows(summary)] == [
        *((2, False), (3, True), (1, False)),
    ]
    assert "10,000" in study_note(summary)
    table = trials_table(study, reads.trials(store, study)).splitlines()
    assert "parameters" in table[0]
    assert "8,000" in table[1]
    data = load_study_data(store, study, Workspace(tmp_path))
    report = report_text(data, "md")
    assert "Pareto front of validation accuracy and parameters" in report
    assert "| 3 | 91.5 % | 1,000 | knee |" in report


def test_what_of_the_front_was_confirmed_stands_beside_it(
    weighed_study: Any, tmp_path: Path
) -> None:
    store, study = weighed_study.store, weighed_study.study
    set_budget(store, study, 7)
    drawn = {"activation": "relu", "lr": 0.002, "dropout": 0.3}
    weighed_study.run([0.918], second=5000.0, parameters=drawn)
    set_confirmation(store, study, Confirmation(2, 1))
    for value in (0.88, 0.9, 0.89):
        claim = queue.claim(store, study, "one")
        assert isinstance(claim, Claim)
        queue.end(store, claim, End(EndKind.COMPLETED, "all", value, second_value=1.0))
    assert queue.claim(store, study, "one") is NoTrialReason.BUDGET_MET
    summary = load_summary(store, load_study(store, study.name))
    assert [(row["number"], row["confirmed"]) for row in front_rows(summary)] == [
        *((2, 0.88), (6, 0.9), (3, None), (1, None)),
    ]
    lines = front_block(summary).splitlines()
    assert "confirmed" in lines[1]
    assert lines[2].split() == ["2", "92.0", "%", "88.0", "%", "10,000"]
    assert lines[4].split() == ["3", "91.5", "%", "-", "1,000", "knee"]
    assert unconfirmed_sentence(summary) == (
        "Trained again on fresh seeds: 2 of the front's 4 trials; `optuna-study confirm small "
        "--top 3` does so with all searched ones."
    )
    assert "`optuna-study confirm small --top 3 --artifacts x`" in study_page(
        summary, 0.0, Newest((), 0, 0), " --artifacts x"
    )
    data = load_study_data(store, summary.study, Workspace(tmp_path))
    assert "2 of the front's 4 trials" in report_text(data, "md")
    assert unconfirmed_sentence(dataclasses.replace(summary, confirmation=None)) == ""


def test_a_finalist_that_diverges_on_fresh_seeds_was_trained_again(weighed_study: Any) -> None:
    store, study = weighed_study.store, weighed_study.study
    set_budget(store, study, 7)
    drawn = {"activation": "relu", "lr": 0.002, "dropout": 0.3}
    weighed_study.run([0.93], second=9500.0, parameters=drawn)
    set_confirmation(store, study, Confirmation(2, 1))
    for _ in range(3):
        claim = queue.claim(store, study, "one")
        assert isinstance(claim, Claim)
        end = End(EndKind.COMPLETED, "all", 0.88, second_value=1.0)
        if claim.confirms == 3:
            end = End(EndKind.DIVERGED, "exploding")
        queue.end(store, claim, end)
    assert queue.claim(store, study, "one") is NoTrialReason.BUDGET_MET
    study = dataclasses.replace(load_study(store, study.name), metric="validation_loss")
    summary = dataclasses.replace(load_summary(store, load_study(store, study.name)), study=study)
    assert unconfirmed_sentence(summary) == ""
    headers, rows = front_columns(summary)
    assert headers == ["trial", "loss", "confirmed", "parameters", ""]
    assert [(row[0], row[2]) for row in rows] == [("6", "0.8800"), ("3", "diverged"), ("1", "-")]
    assert [row["confirmed"] for row in front_rows(summary)] == [0.88, None, None]


def test_with_one_objective_no_page_speaks_of_it(stored_study: Any, tmp_path: Path) -> None:
    stored_study.run([0.5])
    store, study = stored_study.store, stored_study.study
    summary = load_summary(store, study)
    data = load_study_data(store, study, Workspace(tmp_path))
    assert front_block(summary) == ""
    assert front_rows(summary) == []
    assert "areto" not in study_note(summary) + report_text(data, "md")
    assert "parameters" not in trials_table(study, reads.trials(store, study))
