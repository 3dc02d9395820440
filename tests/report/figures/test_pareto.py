"""The figure of two objectives, with a planted front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna_study.paths import Workspace
from optuna_study.report.figures.kinds import KINDS
from optuna_study.report.figures.pareto import ticks
from optuna_study.report.figures.study_data import load_study_data

if TYPE_CHECKING:
    from pathlib import Path


def test_trials_baselines_the_front_and_its_knee_are_told_apart(
    weighed_study: Any, tmp_path: Path
) -> None:
    data = load_study_data(weighed_study.store, weighed_study.study, Workspace(tmp_path))
    made = KINDS["pareto"].make(data).to_plotly_json()
    traces = {each["name"]: each for each in made["data"]}
    points = {name: list(zip(each["x"], each["y"], strict=True)) for name, each in traces.items()}
    assert points == {
        "trial": [(9000, 0.5)],
        "baseline": [(8000, 0.9)],
        "Pareto front": [(10_000, 0.92), (1000, 0.915), (100, 0.7)],
        "knee": [(1000, 0.915)],
    }
    assert traces["Pareto front"]["line"]["shape"] == "vh"
    assert traces["knee"]["text"][0] == "trial 3: 91.5 %, 1,000<br>tanh, lr 0.003, dropout 0.25"
    assert traces["Pareto front"]["text"][2].endswith("<br>wild")
    axes = made["layout"]["xaxis"], made["layout"]["yaxis"]
    assert axes[0]["type"] == "log"
    assert [each["title"]["text"] for each in axes] == ["parameters", "validation accuracy"]


def test_ticks_are_whole_numbers_of_one_two_and_five() -> None:
    assert ticks([0.03, 0.4]) == {
        "tickvals": [0.02, 0.05, 0.1, 0.2, 0.5],
        "ticktext": ["0.02", "0.05", "0.1", "0.2", "0.5"],
    }
    assert ticks([61_100_840.0])["ticktext"] == ["50,000,000", "100,000,000"]
    assert ticks([1.0, 1e9])["ticktext"][:2] == ["1", "10"]
