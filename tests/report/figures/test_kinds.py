"""Every kind of figure: what it shows of a finished study, and of one where nothing has run."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from optuna_study.errors import NotFoundError, UsageError
from optuna_study.paths import Workspace
from optuna_study.report.figures import curves, style
from optuna_study.report.figures.kinds import KINDS, find_kind
from optuna_study.report.figures.study_data import StudyData, load_study_data
from optuna_study.store.importances import Importance
from optuna_study.store.records import EpochRecord


@pytest.fixture(scope="module")
def data(finished_study: Any, finished_workspace: Workspace) -> StudyData:
    return reload(finished_study, finished_workspace)


@pytest.fixture(scope="module")
def empty(store_study: Any, tmp_path_factory: pytest.TempPathFactory) -> StudyData:
    """A study of which nothing has run."""
    folder = tmp_path_factory.mktemp("empty")
    return reload(store_study(folder), Workspace(folder))


def reload(stored: Any, workspace: Workspace, focus: int | None = None) -> StudyData:
    from optuna_study.store.studies.studies import load_study

    study = load_study(stored.store, stored.study.name)
    return load_study_data(stored.store, study, workspace, focus)


def draw(kind: str, data: StudyData) -> dict[str, Any]:
    """A figure as plotly keeps it, which has checked every property."""
    made: dict[str, Any] = KINDS[kind].make(data).to_plotly_json()
    return made


def trace(made: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in made["data"] if each.get("name") == name)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"pareto"}))  # it has one objective
def test_a_finished_study_has_every_figure(kind: str, data: StudyData) -> None:
    assert draw(kind, data)["data"]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_figure_without_anything_to_draw_says_why(kind: str, empty: StudyData) -> None:
    made = draw(kind, empty)
    if kind == "ends":  # its trials wait
        assert list(made["data"][0]["y"]) == ["waiting"]
    else:
        assert len(made["data"]) == 0
        assert made["layout"]["annotations"][0]["text"].endswith(".")


def test_a_kind_that_there_is_not_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'history'"):
        find_kind("histroy")


def test_a_trial_that_there_is_not_is_named(
    finished_study: Any, finished_workspace: Workspace
) -> None:
    with pytest.raises(NotFoundError, match="no trial 9"):
        reload(finished_study, finished_workspace, focus=9)


def test_history_marks_baselines_and_the_best_so_far(data: StudyData) -> None:
    made = draw("history", data)
    assert list(trace(made, "baseline")["x"]) == [0, 1]
    assert list(trace(made, "completed")["x"]) == [2, 3, 5]
    assert list(trace(made, "pruned")["y"]) == [0.1]
    best = trace(made, "best so far")
    assert list(zip(best["x"], best["y"], strict=True)) == [(0, 0.6), (3, 0.7), (5, 0.8), (5, 0.8)]
    assert made["layout"]["yaxis"]["tickformat"] == ".0%"


def test_ends_are_counted(data: StudyData) -> None:
    made = draw("ends", data)["data"][0]
    counted = dict(zip(made["y"], made["x"], strict=True))
    assert sum(counted.values()) == len(data.trials)
    assert counted["completed"] == 4
    assert counted["pruned"] == 1


def test_curves_are_joined_by_end_with_gaps_and_the_best_stands_out(data: StudyData) -> None:
    made = draw("curves", data)
    assert list(trace(made, "completed")["y"])[:4] == [0.25, 0.5, 0.6, None]
    assert list(trace(made, "best (trial 5)")["y"]) == [0.5, 0.7, 0.8, None]
    assert trace(made, "completed")["line"]["color"] == style.COLOURS["completed"]


def test_of_many_curves_a_part_is_drawn(data: StudyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MOST_CURVES", 3)
    made = draw("curves", data)
    drawn = {
        number for each in made["data"] for number in each["customdata"] if number is not None
    }
    assert drawn == {0, 2, 5}
    assert "3 of 6 curves" in made["layout"]["title"]["text"]


def test_rates_that_step_are_marked_and_smooth_ones_are_not(data: StudyData) -> None:
    stepped = [_epoch(number, 0.1 if number < 3 else 0.01) for number in range(1, 7)]
    assert curves.rate_changes(stepped) == [(2.5, 0.01)]
    assert curves.rate_changes([_epoch(number, 0.1 / number) for number in range(1, 7)]) == []
    made = draw("curves", dataclasses.replace(data, curves={5: stepped, 3: stepped}))
    changed = trace(made, "rate changes (ten best)")
    assert (list(changed["x"]), list(changed["y"])) == ([3], [0.5])
    assert made["layout"]["shapes"][0]["x0"] == 2.5


def _epoch(number: int, rate: float) -> EpochRecord:
    return EpochRecord(number, 0.5, 1.0, 0.5, 1.0, 0.5, rate, 1.0, 1.0)


def test_parameters_come_by_importance(data: StudyData) -> None:
    assert data.parameters == ("lr", "activation", "dropout")
    made = draw("interaction", data)
    titles = [made["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")]
    assert titles == ["lr", "activation"]
    assert made["layout"]["xaxis"]["type"] == "log"
    assert made["layout"]["yaxis"]["type"] == "category"


def test_parallel_coordinates_have_logarithms_and_names(data: StudyData) -> None:
    axes = {axis["label"]: axis for axis in draw("parallel", data)["data"][0]["dimensions"]}
    assert list(axes) == ["lr", "activation", "dropout", "value"]
    assert max(axes["value"]["values"]) == axes["value"]["values"][-1] == 0.8
    assert axes["lr"]["values"][-1] == pytest.approx(-2.523, abs=1e-3)
    assert list(axes["activation"]["ticktext"]) == ["relu", "tanh"]


def test_the_worse_end_of_a_scale_is_that_of_high_losses(data: StudyData) -> None:
    def scale(direction: str) -> list[Any]:
        study = dataclasses.replace(data.study, direction=direction)
        summary = dataclasses.replace(data.summary, study=study)
        made = draw("interaction", dataclasses.replace(data, summary=summary))
        return [list(stop) for stop in made["data"][0]["marker"]["colorscale"]]

    up, down = scale("maximize"), scale("minimize")
    assert [colour for _, colour in up] == [colour for _, colour in reversed(down)]
    assert [place for place, _ in down] == sorted(place for place, _ in down)


def test_confusion_is_coloured_by_rows_and_written_as_counts(data: StudyData) -> None:
    colours, strong, faint = draw("confusion", data)["data"]
    assert [list(row) for row in colours["z"]] == [[0.8, 0.2], [0.4, 0.6]]
    assert list(zip(strong["y"], strong["x"], strong["text"], strict=True)) == [
        ("a", "a", "4"),
        ("<b>", "<b>", "3"),
    ]
    assert list(faint["text"]) == ["1", "2"]


def test_a_class_name_is_no_tag_and_two_of_one_name_have_a_row_each(data: StudyData) -> None:
    made = draw("mistakes", data)
    texts = [note["text"] for note in made["layout"]["annotations"]]
    assert texts == ["a, called<br>&lt;b> (90 %)", "&lt;b>, called<br>a (75 %)"]
    assert data.predictions is not None
    same = dataclasses.replace(data.predictions, classes=["a", "a"])
    made = draw("confusion", dataclasses.replace(data, predictions=same))
    assert list(made["data"][0]["x"]) == ["a", "a (2)"]


def test_a_single_trial_can_be_looked_at(
    finished_study: Any, finished_workspace: Workspace
) -> None:
    made = draw("trial", reload(finished_study, finished_workspace, focus=4))
    assert [list(each["y"]) for each in made["data"]] == [[1.5], [1.25], [0.1], [0.1]]


def test_baselines_stand_beside_the_best(data: StudyData) -> None:
    made = draw("baselines", data)
    assert [list(each) for each in made["data"][0]["y"]] == [
        ["activation", "lr"],
        ["plain", "wild"],
    ]
    assert made["layout"]["shapes"][0]["x0"] == 0.8


def test_confirmation_runs_stand_apart(data: StudyData) -> None:
    confirming = dataclasses.replace(data.trials[3], confirms=5)
    trials = (*data.trials[:3], confirming, *data.trials[4:])
    made = draw("history", dataclasses.replace(data, trials=trials))
    assert list(trace(made, "completed")["x"]) == [2, 5]
    assert list(trace(made, "confirmation run")["x"]) == [3]
    assert list(trace(made, "best so far")["x"]) == [0, 5, 5]
    ranked = dataclasses.replace(data, trials=trials).ranked
    assert [trial.number for trial in ranked] == [5, 0, 2]


def test_importances_have_intervals(data: StudyData) -> None:
    shares = {"lr": Importance(4, 0.7, 0.5, 0.9), "dropout": Importance(4, 0.3)}
    study = dataclasses.replace(data.study, measured_importances=shares)
    summary = dataclasses.replace(data.summary, study=study)
    bar = draw("importances", dataclasses.replace(data, summary=summary))["data"][0]
    assert list(bar["y"]) == ["dropout", "lr"]
    assert list(bar["error_x"]["array"]) == pytest.approx([0.0, 0.2])
    assert list(bar["error_x"]["arrayminus"]) == pytest.approx([0.0, 0.2])


def test_losses_by_step_have_a_mean_within_their_extremes(data: StudyData) -> None:
    low, high, mean = draw("steps", data)["data"]
    assert [list(each["y"]) for each in (low, mean, high)] == [
        [2.5, 0.5, 0.25],
        [3.0, 1.0, 0.5],
        [3.5, 2.0, 0.75],
    ]
    assert list(mean["x"]) == [11.5, 13.5, 15.5]


def test_outputs_stand_by_class_beside_their_picture(data: StudyData) -> None:
    made = draw("outputs", data)
    (bars,) = made["data"]
    assert list(bars["y"]) == [0.25, 0.5]
    assert bars["marker"]["color"][1] == style.BEST, "the true class"
    assert "training picture 19" in made["layout"]["xaxis"]["title"]["text"]
    assert made["layout"]["images"][0]["source"].startswith("data:image/png")


def test_a_cosines_last_rate_does_not_stretch_the_axis(data: StudyData) -> None:
    falling = [_epoch(1, 0.1), _epoch(2, 0.01), _epoch(3, 1e-12), _epoch(4, 0.0)]
    made = draw("schedules", dataclasses.replace(data, curves={5: falling}))
    low, high = made["layout"]["yaxis"]["range"]
    assert (low, high) == (pytest.approx(-5.1), pytest.approx(-0.9))
    assert 1e-12 in made["data"][0]["y"]


def test_shares_stand_beside_the_names_of_the_parameters(data: StudyData) -> None:
    axis = draw("importances", data)["layout"]["yaxis"]
    assert axis["ticktext"] == ["dropout  10.0%", "activation  20.0%", "lr  70.0%"]
