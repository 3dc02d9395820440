"""A study's summary and the pages made of it."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from optuna_study.cli.watching import closing
from optuna_study.paths import Workspace
from optuna_study.report import live, pages
from optuna_study.report.confirmation.page import Confirmation, sentence
from optuna_study.report.confirmation.verdict import Known, judge
from optuna_study.report.document.write import report_text
from optuna_study.report.export import telling_settings, trial_config
from optuna_study.report.figures.study_data import load_study_data
from optuna_study.report.follow import Follower
from optuna_study.report.formats import to_json
from optuna_study.report.load import load_summary, trial_log
from optuna_study.report.rows import trial_row
from optuna_study.report.show import show_study, show_trial
from optuna_study.report.summary import best_of, held_up, seconds_left
from optuna_study.report.tables import plain, table
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import (
    ConfirmationRun,
    Counts,
    EndKind,
    EpochRecord,
    RunningTrial,
    StudyState,
)
from optuna_study.store.studies.budget import set_budget
from optuna_study.store.studies.studies import load_study, set_state

if TYPE_CHECKING:
    from pathlib import Path

BEST = {"activation": "tanh", "lr": 0.003, "dropout": 0.25}


def _counts(ended: int, running: int) -> Counts:
    return Counts(0, running, {EndKind.COMPLETED: ended}, {})


@pytest.mark.parametrize(
    ("counts", "budget", "mean", "expected"),
    [
        (_counts(10, 2), 10, 5.0, 0.0),
        (_counts(0, 1), 10, None, None),
        (_counts(5, 0), 10, 60.0, None),
        (_counts(4, 2), 10, 60.0, 180.0),  # 6 left, two at once
        (_counts(9, 4), 10, 60.0, 15.0),
    ],
)
def test_time_left(
    counts: Counts, budget: int, mean: float | None, expected: float | None
) -> None:
    assert seconds_left(counts, budget, mean, []) == expected


def test_the_best_follows_the_direction_and_the_earlier_of_equals(stored_study: Any) -> None:
    for accuracy in (0.5, 0.25):
        stored_study.run([accuracy])
    stored_study.run([0.5], parameters=BEST)
    trials = reads.trials(stored_study.store, stored_study.study)
    best, worst = best_of(trials, "maximize"), best_of(trials, "minimize")
    assert best is not None
    assert worst is not None
    assert (best.number, worst.number) == (0, 1)
    assert best_of([], "maximize") is None


def test_the_closing_page_sets_the_best_beside_the_best_baseline(stored_study: Any) -> None:
    stored_study.run([0.5])
    stored_study.run([], EndKind.DIVERGED, reason="non_finite: the loss is nan")
    number = stored_study.run([0.75], parameters=BEST)
    summary = load_summary(stored_study.store, stored_study.study)
    assert summary.best is not None
    assert summary.best_baseline is not None
    best = trial_config(stored_study.study, summary.best)
    baseline = trial_config(stored_study.study, summary.best_baseline)
    names = telling_settings(stored_study.study, summary.best, baseline)
    page = plain(pages.closing_page(summary, best, baseline, names))
    assert page.splitlines() == [
        f"Best: trial {number}, validation accuracy 75.0 %",
        "Best baseline: plain (trial 0), 50.0 %; the best is 25.0 points better.",
        "",
        "setting     best   best baseline",
        "activation  tanh   relu",
        "lr          0.003  0.01",
        "dropout     0.25   0.5",
        "",
        "group       baseline  trial  accuracy  end        why                          "
        "source reported",
        "activation  plain         0    50.0 %  completed                               Works.",
        "lr          wild          1         -  diverged   non_finite: the loss is nan",
        "",
        "3 of 6 trials ended (1 searched, 2 baselines): 2 completed, 1 diverged.",
        "",
        "Next",
        "  optuna-study show small                        # the whole study",
        "  optuna-study confirm small                     # end the search: its best on "
        "fresh seeds",
        "  optuna-study export small -o best.toml         # the best configuration, complete",
        "  optuna-study train best.toml -o best --verify  # train it again and compare",
        "  optuna-study report small -o report.html       # all of it on one page to send",
        "  optuna-study dashboard                         # all trials in the browser",
    ]


def test_a_study_without_a_completed_trial_offers_no_export(stored_study: Any) -> None:
    summary = load_summary(stored_study.store, stored_study.study)
    page = pages.closing_page(summary, None, None, [], " --storage sqlite:///a.db")
    assert page.startswith("No trial has completed.")
    assert "export" not in page
    assert "optuna-study show small --storage sqlite:///a.db " in page
    assert "optuna-study dashboard --storage sqlite:///a.db " in page


def test_a_stand_in_is_said_in_one_sentence(stored_study: Any) -> None:
    import dataclasses

    summary = load_summary(stored_study.store, stored_study.study)
    assert pages.stand_in_sentence(summary) == ""
    definition = {**summary.study.definition, "stand_in": "rendered"}
    study = dataclasses.replace(summary.study, definition=definition)
    assert pages.stand_in_sentence(dataclasses.replace(summary, study=study)) == (
        "The built-in 'rendered' pictures stand in for the real ones."
    )


def _drawn(view: Any, width: int = 110) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(view)
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_live_view_shows_what_runs_and_what_has_ended(stored_study: Any) -> None:
    follower = Follower(stored_study.store, stored_study.study)
    assert follower.look().ended == []
    stored_study.run([0.5])
    stored_study.run([], EndKind.DIVERGED, reason="non_finite: the loss is nan")
    claim = stored_study.start([0.25, 0.75], parameters=BEST)
    look = follower.look()
    assert [trial.number for trial in look.ended] == [0, 1]
    started = look.running[0].trial.started
    assert started is not None
    lines = _drawn(live.view(look.summary, look.running, look.ended, started + 75))
    assert lines[0].startswith("small  ━━━━")
    assert "  2/6" in lines[0]
    assert lines[1] == "1 completed  1 diverged  1 running"
    assert lines[4].split() == [
        *("2", "2/3", "1.250", "75.0", "%", "▃▇", "1", "min", "15", "s"),
        *("tanh,", "lr", "0.003,", "dropout", "0.25"),
    ]
    assert "    1  diverged         -  wild  non_finite: the loss is nan" in lines
    assert lines[-1] == "baseline   50.0 %  trial 0: plain"
    queue.release(stored_study.store, claim, "stopped")
    again = follower.look()
    assert again.ended == []
    assert again.running == []


def test_plain_lines(stored_study: Any) -> None:
    follower = Follower(stored_study.store, stored_study.study)
    stored_study.run([], EndKind.DIVERGED, reason="non_finite: the loss is nan")
    stored_study.run([0.5])
    look = follower.look()
    assert [live.ended_line(look.summary, trial) for trial in look.ended] == [
        "2/6  trial 0 (plain)  diverged  -  0.0 s  non_finite: the loss is nan",
        "2/6  trial 1 (wild)  completed  50.0 %  0.5 s",
    ]
    assert live.progress_line(look.summary) == (
        "2 of 6 trials ended, 0 running, best 50.0 %, best baseline 50.0 %, waiting for a worker"
    )


def test_a_live_view_says_what_stands_still_and_counts_epochs_that_are_done(
    stored_study: Any,
) -> None:
    store, study = stored_study.store, stored_study.study
    follower = Follower(store, study)
    assert _drawn(live.view(follower.look().summary, [], [], 0.0))[0].endswith(
        "0/6  waiting for a worker"
    )
    stored_study.run([0.5, 0.5])  # of 0.5 s an epoch
    stored_study.start([0.25, 0.75])  # two of its three epochs
    summary = follower.look().summary
    assert summary.seconds_left == pytest.approx(1.0 * (5 - 2 / 3))
    assert load_summary(store, study).seconds_left == summary.seconds_left
    slow = EpochRecord(1, 0.5, 1.0, 0.5, 1.0, 0.5, 0.01, 1.0, seconds=40.0)
    work = RunningTrial(1, "w", None, 4, slow, (0.5,))
    counts = reads.counts(store, study)
    assert seconds_left(counts, study.total, 1.0, [work]) == 120.0, "no sooner than that"
    set_state(store, study, StudyState.PAUSED)
    set_budget(store, study, 5)
    line = live.progress_line(follower.look().summary)
    assert line.startswith("1 of 5 trials ended, 1 running, ")
    assert line.endswith(" left, paused")
    view = live.view(follower.look().summary, [], [], 0.0)
    wide, narrow, narrowest = (_drawn(view, width)[0] for width in (80, 50, 20))
    assert f"small  {'━' * live.BAR}  1/5  about " in wide
    assert re.fullmatch(r"small  ━{4,27}  1/5  about .* left  paused", narrow)
    assert len(narrow) == 50
    assert narrowest.startswith("small  1/5  about"), "what is said comes before the bar"
    set_state(store, study, StudyState.STOPPING)
    assert "stopping" in _drawn(live.view(follower.look().summary, [], [], 0.0))[0]


def test_a_study_that_waits_for_plain_optuna_says_so(held_up_study: Any) -> None:
    waits = "waits for 1 trial of plain Optuna, see `optuna-study doctor small`"
    store, study = held_up_study.store, held_up_study.study
    summary = Follower(store, study).look().summary
    assert live.progress_line(summary) == (
        f"5 of 6 trials ended, 1 running, best 50.0 %, best baseline 50.0 %, {waits}"
    )
    assert waits in _drawn(live.view(summary, [], [], 0.0))
    [left] = [line for line in show_study(store, study, "table").splitlines() if waits in line]
    assert left.startswith("left ")


def test_a_study_that_plain_optuna_runs_trials_of_waits_only_for_the_last(
    held_up_study: Any,
) -> None:
    store, study = held_up_study.store, held_up_study.study
    set_budget(store, study, 7)
    larger = load_study(store, "small")
    assert held_up(larger, reads.counts(store, larger)) == "", "one is left to claim"
    held_up_study.start([0.5])
    assert held_up(larger, reads.counts(store, larger)) == "", "one of ours is at work"
    assert seconds_left(reads.counts(store, larger), 7, 60.0, []) == 120.0, "at our pace"


def test_a_trial_log_is_what_its_worker_wrote_while_it_held_it(
    stored_study: Any, tmp_path: Path
) -> None:
    study = stored_study.study
    stored_study.run([], EndKind.FAILED, reason="ValueError: no", traceback="Trace:\n  no\n")
    stored_study.run([0.5])
    first, second = reads.trials(stored_study.store, study)
    workspace = Workspace(tmp_path / "w")
    assert trial_log(workspace, study, first) == []
    log = workspace.log(study.uuid, "a-1-001")
    log.parent.mkdir(parents=True)
    parts = ("x joins\n", "x trial 0 claimed\nx größe\nTrace:\n  no\n", "x trial 1 claimed\nx y\n")
    log.write_text("".join(parts), encoding="utf-8")
    assert trial_log(workspace, study, first) == [], "a log of an earlier version has no index"
    places = [len("".join(parts[:count]).encode()) for count in (1, 2)]
    marks = [{"trial": number, "from": place} for number, place in enumerate(places)]
    workspace.log_index(log).write_text("".join(f"{json.dumps(mark)}\n" for mark in marks))
    assert trial_log(workspace, study, first) == ["x trial 0 claimed", "x größe"]
    assert trial_log(workspace, study, second) == ["x trial 1 claimed", "x y"]


def test_an_infinite_value_is_null_in_json(stored_study: Any) -> None:
    stored_study.run([float("inf")])
    row = trial_row(reads.trial(stored_study.store, stored_study.study, 0))
    assert row["value"] == float("inf")
    assert '"value": null' in to_json(row)


def test_prose_goes_on_in_the_next_line() -> None:
    rows = [["a", "one two three four five six seven", ""], ["b", "", ""]]
    assert plain(table(["name", "why", "said"], rows, prose=("why", "said"), width=30)) == (
        "name  why\na     one two three four five\n      six seven\nb"
    )


def test_what_fresh_seeds_turn_round_is_said(stored_study: Any) -> None:
    store, study = stored_study.store, stored_study.study
    set_budget(store, study, 4)
    for value in (0.3, 0.3):
        stored_study.run([value])
    first = stored_study.run([0.9], parameters=BEST)
    second = stored_study.run([0.8], parameters={**BEST, "lr": 0.001})
    summary = load_summary(store, study)
    ahead = f"Of the searched trials, {second} leads on fresh seeds."
    assert ahead not in pages.best_lines(summary)
    runs = [
        ConfirmationRun(4 + number, number, seed, EndKind.COMPLETED, value, test)
        for number, value, test in ((first, 0.7, 0.6), (second, 0.8, 0.7), (0, 0.95, 0.9))
        for seed in range(3)
    ]
    verdict = judge(runs, frozenset({0}), Known("maximize", True, 200, 200, 0.2))
    trials = {number: reads.trial(store, study, number) for number in (0, first, second)}
    confirmed = Confirmation(len(runs), len(runs), verdict, trials)
    assert sentence(confirmed).startswith(f"Trial {second} is worse than the baseline plain: ")
    lines = pages.best_lines(dataclasses.replace(summary, confirmation=confirmed))
    assert f"Best: trial {first}, validation accuracy 90.0 %" in lines
    assert ahead in lines
    led = dataclasses.replace(summary, best=summary.best_baseline, confirmation=confirmed)
    lines = pages.best_lines(led)
    assert "It is the baseline plain; no trial of the search beats it." in lines
    assert not any("fresh seeds" in line for line in lines)


def test_what_a_trial_has_of_its_own_is_shown(
    store_file: Any, study_file: str, tmp_path: Path
) -> None:
    stage = "[search.finetune]\ntrials = 2\nsettings = {epochs = 5}\n[space]"
    made = store_file(study_file.replace("[space]", stage))
    store, study, places = made.store, made.study, Workspace(tmp_path)
    for _ in range(2):
        made.run([], EndKind.DIVERGED, reason="non_finite: the loss is nan")
    for value in (0.5, 0.6):
        made.run([value], parameters=BEST)
    number = made.run([0.7])
    assert "\nepochs" in show_trial(store, study, number, places, "table")
    assert "\nepochs" not in show_trial(store, study, number - 1, places, "table")
    assert "\nepochs      5\n" in closing(store, study)
    assert "| epochs | 5 |" in report_text(load_study_data(store, study, places), "md")
