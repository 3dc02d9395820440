"""A study in Python, against the store and against Optuna's own table."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import optuna_study
from optuna_study.errors import NotFoundError, StoreError, UsageError
from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def stored(store_study: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = store_study(tmp_path_factory.mktemp("stored"))
    made.run([0.5, 0.6])
    made.run([], EndKind.DIVERGED, reason="non_finite: the loss is nan")
    made.run([0.4, 0.8], parameters={"activation": "tanh", "lr": 0.003, "dropout": 0.25})
    made.start([0.1], {"activation": "relu", "lr": 0.01, "dropout": 0.0})
    return made


@pytest.fixture(scope="module")
def study(stored: Any) -> optuna_study.Study:
    return optuna_study.load("small", stored.url)


def test_a_row_a_trial_with_typed_columns(study: optuna_study.Study) -> None:
    frame = study.dataframe()
    assert frame["number"].tolist() == [0, 1, 2, 3, 4, 5][: len(frame)]
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds["params_lr"] == kinds["value"] == kinds["seconds"] == "Float64"
    assert kinds["params_activation"] == kinds["end"] == "category"
    assert kinds["epochs"] == "Int64"
    assert kinds["started"].startswith("datetime64")
    third = frame.iloc[2]
    assert (third["value"], third["accuracy"], third["loss"]) == (0.8, 0.8, 1.25)
    assert (third["params_activation"], third["params_lr"]) == ("tanh", pytest.approx(0.003))
    assert (third["end"], third["epochs"], third["seconds"]) == ("completed", 2, 1.0)
    assert frame.iloc[0]["baseline"] == "plain"
    assert frame.iloc[1]["reason"] == "non_finite: the loss is nan"
    assert frame["value"].isna().tolist()[1]


def test_the_second_objective_has_a_column(weighed_study: Any, study: optuna_study.Study) -> None:
    frame = optuna_study.load("small", weighed_study.url).dataframe()
    assert frame["second_value"].dropna().tolist() == [8000.0, 100.0, 10_000.0, 1000.0, 9000.0]
    assert study.dataframe()["second_value"].isna().all()


def test_the_table_has_optunas_own_figures(study: optuna_study.Study) -> None:
    ours, theirs = study.dataframe(), study.optuna.trials_dataframe()
    assert ours["number"].tolist() == theirs["number"].tolist()
    assert ours["state"].tolist() == theirs["state"].tolist()
    for name in ("value", "params_lr", "params_dropout"):
        there = theirs[name].notna()
        assert ours[name].notna().tolist() == there.tolist()
        assert ours[name][there].tolist() == pytest.approx(theirs[name][there].tolist())


def test_a_row_an_epoch(study: optuna_study.Study) -> None:
    curves = study.curves()
    shown = curves[["number", "epoch", "value"]].values.tolist()
    assert shown == [[0, 1, 0.5], [0, 2, 0.6], [2, 1, 0.4], [2, 2, 0.8], [3, 1, 0.1]]
    assert curves["epoch"].dtype == "int64"
    assert curves["validation_loss"].dtype == "float64"


def test_figures_the_report_and_the_configuration(
    study: optuna_study.Study, tmp_path: Path
) -> None:
    assert study.best is not None
    assert study.best.number == 2
    assert study.figure("history").data
    assert list(study.figure("trial", trial=0).data[2].y) == [0.5, 0.6]
    with pytest.raises(UsageError, match="no figure 'nothing'"):
        study.figure("nothing")
    text = study.report(tmp_path / "report.md")
    assert text == (tmp_path / "report.md").read_text()
    assert 'activation = "tanh"' in study.export(tmp_path / "best.toml")
    assert (tmp_path / "best.toml").is_file()
    assert "trial 2" in study._repr_html_()


def test_what_is_not_there_is_named(stored: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        optuna_study.load("other", stored.url)
    with pytest.raises(StoreError, match="no such file"):
        optuna_study.load("small", artifacts=tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'lunch'"):
        optuna_study.lunch  # noqa: B018 - reading it is the test


def test_the_import_loads_nothing_large() -> None:
    heavy = "torch", "pandas", "plotly", "optuna", "sqlalchemy", "numpy"
    code = (
        "import sys, optuna_study\n"
        "assert set(optuna_study.__all__) <= set(dir(optuna_study))\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
