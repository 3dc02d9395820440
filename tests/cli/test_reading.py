"""`list`, `show`, `trials` and `export` on a store."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from optuna_study.cli.watching import closing
from optuna_study.report.curves.read import QUICK_TRIALS
from optuna_study.store.importances import Importance
from optuna_study.store.records import EndKind
from optuna_study.store.studies.studies import load_study, save_importances

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRIAL_FIELDS = [
    "number",
    "state",
    "value",
    "params",
    "datetime_start",
    "datetime_complete",
    "duration",
    "reason",
    "baseline",
    "seed",
    "epochs",
    "confirms",
    "excluded",
    "reuses",
    "second_value",
]
BEST = {"activation": "tanh", "lr": 0.003, "dropout": 0.25}


@pytest.fixture
def worked(stored_study: Any) -> Any:
    """The small study after three trials of six: a baseline, a diverged baseline, a better one."""
    stored_study.run([0.3, 0.5])
    stored_study.run([], EndKind.DIVERGED, reason="non_finite: the loss is nan at step 3")
    stored_study.run([0.4, 0.75], parameters=BEST)
    return stored_study


def _json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_trials_json_has_optunas_fields_then_ours(worked: Any, cli: Callable[..., Any]) -> None:
    result = cli("trials", "small", "--storage", worked.url, "-f", "json")
    assert (result.code, result.err) == (0, "")
    rows = _json(result.out)
    assert [list(row) for row in rows] == [TRIAL_FIELDS] * 3
    ended = [(row["state"], row["value"], row["reason"], row["baseline"]) for row in rows[:3]]
    assert ended == [
        ("COMPLETE", 0.5, "completed: all 3 epochs", "plain"),
        ("PRUNED", None, "diverged: non_finite: the loss is nan at step 3", "wild"),
        ("COMPLETE", 0.75, "completed: all 3 epochs", None),
    ]
    assert rows[2]["params"] == BEST
    assert rows[2]["epochs"] == 2


@pytest.mark.slow
def test_two_objectives_are_shown_and_one_of_the_front_is_exported(
    weighed_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    place = ("small", "--storage", weighed_study.url)
    shown = cli("show", *place)
    assert (shown.code, shown.err) == (0, "")
    assert "Pareto front of validation accuracy and parameters" in shown.out
    told = _json(cli("show", *place, "-f", "json").out)
    assert (told["second_metric"], told["best"]["number"]) == ("parameters", 2)
    assert [row["number"] for row in told["front"]] == [2, 3, 1]
    assert "parameters           1,000\n" in cli("show", *place, "--trial", "3").out
    for prefer, number in (("accuracy", 2), ("knee", 3), ("parameters", 1)):
        exported = cli("export", *place, "--prefer", prefer)
        assert (exported.code, exported.err) == (0, "")
        assert f"trial = {number}\n" in exported.out
    refused = cli("export", *place, "--prefer", "seconds")
    assert refused.code == 2
    assert "give one of accuracy, parameters, knee" in refused.err
    both = cli("export", *place, "--prefer", "knee", "--trial", "3")
    assert (both.code, "leave one of them out" in both.err) == (2, True)
    assert cli("plot", *place, "pareto", "-o", "front.json").code == 0
    assert "Pareto front" in (tmp_path / "front.json").read_text()


def test_trials_agree_with_optunas_own_list(worked: Any, cli: Callable[..., Any]) -> None:
    import optuna

    rows = _json(cli("trials", "small", "--storage", worked.url, "-f", "json").out)
    theirs = optuna.load_study(study_name="small", storage=worked.url).trials
    for row, trial in zip(rows, theirs, strict=True):
        assert row["number"] == trial.number
        assert row["state"] == trial.state.name
        assert row["params"] == trial.params
        assert row["value"] == trial.value
        started = trial.datetime_start
        assert row["datetime_start"] == (started and f"{started:%Y-%m-%d %H:%M:%S}")


def test_trials_csv_and_yaml_say_the_same(worked: Any, cli: Callable[..., Any]) -> None:
    text = cli("trials", "small", "--storage", worked.url, "-f", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["params_lr"] for row in rows[:3]] == ["0.01", "0.1", "0.003"]
    assert rows[1]["value"] == ""
    documents = yaml.safe_load(cli("trials", "small", "--storage", worked.url, "-f", "yaml").out)
    assert documents == _json(cli("trials", "small", "--storage", worked.url, "-f", "json").out)


def test_show_names_best_baselines_reasons_and_importances(
    worked: Any, cli: Callable[..., Any]
) -> None:
    measured = {"lr": Importance(3, 0.75, 0.5, 0.9), "slope": Importance(2)}
    save_importances(worked.store, worked.study, measured, 3)
    result = cli("show", "small", "--storage", worked.url)
    assert result.code == 0
    lines = result.out.splitlines()
    assert "Best: trial 2, validation accuracy 75.0 %" in lines
    assert "Best baseline: plain (trial 0), 50.0 %; the best is 25.0 points better." in lines
    assert "3 of 6 trials ended (1 searched, 2 baselines): 2 completed, 1 diverged." in lines
    table = [line.split() for line in lines]
    assert ["activation", "plain", "0", "50.0", "%", "completed", "Works."] in table
    assert "diverged   non_finite: the loss is nan at step 3" in result.out
    assert "What mattered (of 3 trials, " in result.out
    assert ["lr", "75.0", "%", "50", "to", "90", "%", "3", "█" * 20] in table
    assert "Not enough trials to tell of: slope." in lines
    shown = _json(cli("show", "small", "--storage", worked.url, "-f", "json").out)
    assert shown["importances"] == {"lr": 0.75}
    assert shown["importance_intervals"]["slope"] == {
        "trials": 2,
        "share": None,
        "low": None,
        "high": None,
    }


def test_show_sets_a_comparison_beside_its_source(
    store_file: Callable[..., Any], cli: Callable[..., Any], study_file: str
) -> None:
    source = 'reported = "Works."\nfigure = {test_accuracy = 0.9}'
    claim = '[[claims]]\ntext = "It learns"\nbetter = "plain"\nworse = "wild"\n'
    text = study_file.replace('reported = "Works."', source) + claim
    stored = store_file(text, only="baselines", runs=2)
    for accuracy in (0.8, 0.7):
        stored.run([0.5, accuracy], attributes={"test_accuracy": accuracy + 0.1})
        stored.run([], EndKind.DIVERGED, reason="non_finite: the loss is nan at step 3")
    result = cli("show", "small", "--storage", stored.url)
    lines = result.out.splitlines()
    assert lines[0] == "small@baselines"
    start = lines.index("activation")
    assert lines[start + 1 : start + 4] == [
        "baseline  source  points off          test    validation      training  runs"
        "  source reported",
        "plain       90 %  -5.0        85.0 ± 7.1 %  75.0 ± 7.1 %  75.0 ± 7.1 %     2  Works.",
        "The source gives no order.",
    ]
    assert ["wild", "2", "2", "non", "finite"] in [line.split() for line in lines]
    assert "Runs that were given up without a figure are left out of its mean." in lines
    start = lines.index("claims")
    assert lines[start + 1 : start + 3] == [
        "the source says  of this              against  here",
        "It learns        plain: 85.0 ± 7.1 %  wild: -  "
        "left open, runs are missing: wild has 0 of 2",
    ]
    assert "4 of 4 trials ended: 2 completed, 2 diverged." in lines
    assert "Best" not in result.out, "a comparison chooses nothing"
    shown = _json(cli("show", "small", "--storage", stored.url, "-f", "json").out)
    (group, other) = shown["comparison"]
    assert (group["group"], group["order"], group["pairs"]) == ("activation", "none", [])
    assert group["baselines"][0]["figure"] == {"test_accuracy": 0.9}
    assert group["baselines"][0]["validation_accuracy"]["values"] == [0.8, 0.7]
    assert other["baselines"][0]["given_up"] == {"non_finite": 2}
    (claimed,) = shown["claims"]
    assert (claimed["verdict"], claimed["missing"]) == ("open", ["wild"])


@pytest.mark.slow
def test_a_comparisons_rows_count_the_curves_of_all_their_runs(
    store_file: Callable[..., Any], cli: Callable[..., Any], study_file: str
) -> None:
    stored = store_file(study_file, only="baselines", runs=QUICK_TRIALS // 2 + 1)
    with stored.store.write() as connection:
        counts = '{"class_counts": [6, 4], "device": "cpu"}'
        connection.exec_driver_sql("UPDATE optuna_study_studies SET environment = ?", (counts,))
    for _ in range(QUICK_TRIALS + 2):
        stored.run([0.8], EndKind.DIVERGED, reason="non_finite: the loss is nan at step 3")
    rows = [
        line.split() for line in cli("show", "small", "--storage", stored.url).out.splitlines()
    ]
    (row,) = (row for row in rows if row[:1] == ["plain"])
    given_up = f"{QUICK_TRIALS // 2 + 1}"
    assert row[-6:] == [given_up, "non", "finite", given_up, "diverging", "Works."]


def test_guessing_stands_beside_the_best(stored_study: Any, cli: Callable[..., Any]) -> None:
    """Of 190 and 10 pictures 95 % are right for whoever answers the larger class."""
    stored_study.run([0.957])
    with stored_study.store.write() as connection:
        connection.exec_driver_sql(
            "UPDATE optuna_study_studies SET environment = '{\"class_counts\": [10, 190]}'"
        )
    where = ["--storage", stored_study.url]
    said = "Guessing the largest class gives 95.0 %."
    assert said in cli("show", "small", *where).out
    assert said in closing(stored_study.store, load_study(stored_study.store, "small"))
    assert json.loads(cli("show", "small", "-f", "json", *where).out)["guessing"] == 0.95


def test_show_json_is_strict_and_complete(worked: Any, cli: Callable[..., Any]) -> None:
    value = _json(cli("show", "small", "--storage", worked.url, "-f", "json").out)
    assert value["ends"] == {
        "completed": 2,
        "pruned": 0,
        "diverged": 1,
        "out_of_memory": 0,
        "failed": 0,
    }
    assert value["best"]["number"] == 2
    assert value["best_baseline"]["baseline"] == "plain"
    assert [each["reported"] for each in value["baselines"]] == ["Works.", ""]


def test_show_trial_gives_settings_curve_traceback_and_log(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    stored_study.run(
        [0.25, float("nan")],
        EndKind.FAILED,
        reason="ZeroDivisionError: boom",
        traceback="Traceback (most recent call last):\nZeroDivisionError: boom\n",
    )
    log = tmp_path / "storage/studies" / stored_study.study.uuid / "logs/host-1-001.log"
    log.parent.mkdir(parents=True)
    mine, other = "12:00 INFO trial 0 (plain) claimed\n", "12:01 INFO trial 1 claimed\nother\n"
    failed = "Traceback (most recent call last):\nZeroDivisionError: boom\n"
    lines = "".join(f"line {n}\n" for n in range(30))
    log.write_text(f"joins\n{mine}{lines}{failed}{other}", encoding="utf-8")
    begins = {0: len("joins\n"), 1: len(f"joins\n{mine}{lines}{failed}")}
    index = [{"trial": number, "from": place} for number, place in begins.items()]
    log.with_suffix(".jsonl").write_text("".join(f"{json.dumps(mark)}\n" for mark in index))
    result = cli("show", "small", "--trial", "0", "--storage", stored_study.url)
    assert result.code == 0
    assert "reason               failed: ZeroDivisionError: boom" in result.out
    assert "activation  relu" in result.out
    assert "Curve  ▃·" in result.out
    assert "Traceback\nTraceback (most recent call last):" in result.out
    assert result.out.count("Traceback (most recent") == 1, "the log has it, too"
    assert result.out.endswith("line 29\n")
    assert "line 9\n" not in result.out
    value = _json(
        cli("show", "small", "--trial", "0", "--storage", stored_study.url, "-f", "json").out
    )
    assert value["curve"][1]["validation_accuracy"] is None
    assert value["settings"]["lr"] == 0.01


def test_list_gives_progress_and_best(worked: Any, cli: Callable[..., Any]) -> None:
    lines = cli("list", "--storage", worked.url).out.splitlines()
    assert lines[0].split() == [
        "study",
        "state",
        "ended",
        "running",
        "best",
        "metric",
        "last",
        "activity",
    ]
    assert lines[1].split()[:6] == ["small", "active", "3/6", "0", "75.0", "%"]
    (row,) = _json(cli("list", "--storage", worked.url, "-f", "json").out)
    assert (row["name"], row["direction"], row["n_trials"]) == ("small", "MAXIMIZE", 3)


def test_export_is_a_complete_configuration_with_its_curve(
    worked: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    result = cli("export", "small", "--storage", worked.url, "-f", "json")
    value = _json(result.out)
    assert value["model"]["activation"] == "tanh"
    assert value["train"]["lr"] == 0.003
    assert value["train"]["seed"] > 0
    assert value["provenance"]["trial"] == 2
    assert value["provenance"]["recorded"]["curve"]["validation_accuracy"] == [0.4, 0.75]
    written = cli("export", "small", "--storage", worked.url, "-o", "best.yml")
    assert (written.code, written.out) == (0, "best.yml\n")
    assert yaml.safe_load((tmp_path / "best.yml").read_text(encoding="utf-8")) == value


def test_export_of_a_named_trial(worked: Any, cli: Callable[..., Any]) -> None:
    result = cli("export", "small", "--trial", "1", "--storage", worked.url)
    assert 'activation = "tanh"' in result.out
    assert "lr = 0.1\n" in result.out


def test_export_without_a_completed_trial_says_what_to_do(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    result = cli("export", "small", "--storage", stored_study.url)
    assert result.code == 4
    assert result.err == (
        "Error: no trial of 'small' has completed; name one with --trial N, "
        f"`optuna-study trials small --storage {stored_study.url}` lists them\n"
    )


def test_export_of_a_trial_that_has_not_drawn_yet(worked: Any, cli: Callable[..., Any]) -> None:
    result = cli("export", "small", "--trial", "9", "--storage", worked.url)
    assert result.code == 4
    assert result.err.startswith("Error: study 'small' has no trial 9; ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show", "small"],
        ["show", "small", "--trial", "0"],
        ["trials", "small"],
        ["trials", "small", "-f", "json"],
    ],
)
def test_reading_imports_neither_torch_nor_optuna(
    arguments: list[str], worked: Any, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "from optuna_study.cli.main import run\n"
        f"assert run({[*arguments, '--storage', worked.url]!r}) == 0\n"
        "print('HEAVY', *sorted({'torch', 'optuna', 'rich', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.rpartition("HEAVY")[2].split() == []


def test_reading_makes_no_store_and_no_folder(cli: Callable[..., Any], tmp_path: Path) -> None:
    for arguments in (["list"], ["show", "x"], ["trials", "x"], ["export", "x"], ["dashboard"]):
        assert cli(*arguments).code == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_name_that_no_store_can_hold_is_not_found(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    result = cli("show", "caf\udce9", "--storage", stored_study.url)
    assert result.code == 4
    assert result.err.startswith("Error: no study 'caf\\udce9' in ")
