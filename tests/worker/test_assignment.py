"""A worker that serves a whole store: several studies, and those it cannot work on."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.errors import DataError, OtherVersionError
from optuna_study.launch.prepare import LaunchRequest, Prepared, prepare
from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, NoTrialReason, StudyState, TrialState
from optuna_study.store.studies.deletion import delete_study
from optuna_study.store.studies.studies import find_study, set_state
from optuna_study.worker.assignment import open_bench
from optuna_study.worker.process import Leaving, work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna_study.paths import Workspace
    from optuna_study.worker.assignment import Bench


@pytest.fixture(autouse=True)
def _own_warnings() -> Iterator[None]:
    yield
    logging.captureWarnings(False)


@pytest.fixture
def launched(tmp_path: Path, study_text: str, workspace: Workspace) -> Callable[..., Prepared]:
    """Studies of one store, registered and left to whoever comes."""

    def make(name: str, n_trials: int = 3, **changes: Any) -> Prepared:
        text = study_text.replace("epochs = 10", "epochs = 1")
        (tmp_path / "tiny.toml").write_text(text)
        request = LaunchRequest(
            str(tmp_path / "tiny.toml"), profile="cpu", name=name, n_trials=n_trials, workers=1
        )
        return prepare(replace(request, workspace=workspace, **changes))

    return make


def bench_of(prepared: Prepared, heard: list[str]) -> Bench:
    return open_bench(replace(prepared.orders[0], study=None, folder=None), heard.append)


def claimed(bench: Bench) -> tuple[str, int] | NoTrialReason:
    found = bench.claim(60.0, lambda _: True)
    if isinstance(found, NoTrialReason):
        return found
    return found[0].study.name, found[1].number


def change(prepared: Prepared, **values: str) -> None:
    with sqlite3.connect(prepared.workspace.database) as connection:
        for column, value in values.items():
            connection.execute(
                f"UPDATE optuna_study_studies SET {column} = ? WHERE uuid = ?",
                (value, prepared.study.uuid),
            )


def test_one_worker_serves_every_study_of_a_store(launched: Callable[..., Prepared]) -> None:
    prepared = [launched(name) for name in ("one", "two")]
    heard: list[str] = []
    order = replace(prepared[0].orders[0], study=None)
    assert work(order, Leaving(), heard.append) == NoTrialReason.NOTHING_LEFT
    assert heard == []
    for each in prepared:
        assert reads.counts(each.store, each.study).ended == 3
        log = each.workspace.log(each.study.uuid, order.name).read_text()
        assert [line[24:] for line in log.splitlines() if "claimed" in line] == [
            "INFO trial 0 (plain) claimed",
            "INFO trial 1 (wild) claimed",
            "INFO trial 2 claimed",
        ]
        # Written when its budget was found to be met, though another study had come between.
        study = find_study(each.store, each.study.name)
        assert study is not None
        assert study.importances is None  # three trials are too few
    first = [reads.trial(each.store, each.study, 0).started or 0.0 for each in prepared]
    last = [reads.trial(each.store, each.study, 2).started or 0.0 for each in prepared]
    assert max(first) < min(last)  # they took turns


def test_a_worker_keeps_the_pictures_of_two_studies(launched: Callable[..., Prepared]) -> None:
    prepared = [launched(name) for name in ("one", "two", "three")]
    bench = bench_of(prepared[0], [])
    for number in (0, 1):
        taken = [claimed(bench) for _ in range(3)]
        assert taken == [("one@cpu", number), ("two@cpu", number), ("three@cpu", number)]
    bench.close()
    # Of three in turn two are kept, so each has to be opened anew when its turn comes.
    assert [opened(each) for each in prepared] == [2, 2, 2]


def test_the_pictures_of_two_studies_are_loaded_once(launched: Callable[..., Prepared]) -> None:
    one, two = launched("one"), launched("two")
    bench = bench_of(one, [])
    assert [claimed(bench) for _ in range(4)] == [
        ("one@cpu", 0),
        ("two@cpu", 0),
        ("one@cpu", 1),
        ("two@cpu", 1),
    ]
    bench.close()
    assert (opened(one), opened(two)) == (1, 1)


def opened(prepared: Prepared) -> int:
    """How often the worker has made a place for this study."""
    log = prepared.log(prepared.orders[0]).parent
    return sum(file.read_text().count(" joins ") for file in log.iterdir())


def test_a_study_whose_pictures_are_not_here_holds_up_no_other(
    launched: Callable[..., Prepared],
) -> None:
    elsewhere, here = launched("elsewhere", priority=9), launched("here", n_trials=2)
    change(elsewhere, fingerprint="0123456789abcdef", data_source="/far/away/cats")
    heard: list[str] = []
    bench = bench_of(here, heard)
    assert [claimed(bench) for _ in range(3)] == [
        ("here@cpu", 0),
        ("here@cpu", 1),
        NoTrialReason.BUDGET_TAKEN,
    ]
    assert len(heard) == 1
    assert heard[0].startswith(
        "elsewhere@cpu: the pictures it was made with (fingerprint 0123456789ab) are not here: "
        "digits holds others (fingerprint "
    )
    assert heard[0].endswith("; give their folder with --data")
    trials = reads.trials(elsewhere.store, elsewhere.study)
    assert all(trial.state is TrialState.WAITING and not trial.claims for trial in trials)
    bench.close()


def test_nothing_that_can_be_worked_on_is_told_apart_from_nothing_left(
    launched: Callable[..., Prepared],
) -> None:
    prepared = launched("elsewhere")
    change(prepared, fingerprint="0123456789abcdef")
    bench = bench_of(prepared, [])
    assert claimed(bench) is NoTrialReason.NOT_HERE
    set_state(prepared.store, prepared.study, StudyState.PAUSED)
    assert claimed(bench) is NoTrialReason.NOTHING_LEFT
    bench.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"environment": '{"optuna-study": "0.9.4"}'},
            r"^one@cpu: made by optuna-study 0\.9\.4, this is .*; work on it with "
            r"`pip install 'optuna-study==0\.9\.\*'`, or make a new study with `launch --name`$",
        ),
        (
            {"definition_hash": "0" * 64},
            "its definition reads differently here, so another version of optuna-study made it",
        ),
        ({"definition": "{}"}, "its definition reads differently here"),
    ],
)
def test_what_another_version_made_is_refused(
    launched: Callable[..., Prepared], changes: dict[str, str], said: str
) -> None:
    prepared = launched("one")
    change(prepared, **changes)
    with pytest.raises(OtherVersionError, match=said) as caught:
        work(prepared.orders[0], Leaving())
    assert caught.value.exit_code == 5
    heard: list[str] = []
    bench = bench_of(prepared, heard)
    assert claimed(bench) is NoTrialReason.NOT_HERE
    assert heard == [str(caught.value)]
    bench.close()


def test_another_patch_or_torch_is_logged_and_recorded(
    launched: Callable[..., Prepared],
) -> None:
    prepared = launched("one", n_trials=1)
    change(prepared, environment='{"optuna-study": "0.1.99", "torch": "2.0", "device": "cpu"}')
    assert work(prepared.orders[0], Leaving()) == NoTrialReason.BUDGET_MET
    log = prepared.log(prepared.orders[0]).read_text()
    assert "differs from where the study was made: optuna-study was 0.1.99, is " in log
    assert "differs from where the study was made: torch was 2.0, is " in log
    assert "device was" not in log
    [config] = [
        path.read_text()
        for path in prepared.workspace.artifacts.iterdir()
        if b"[model]" in path.read_bytes()
    ]
    assert "optuna-study = " in config


def test_a_deleted_study_is_left_for_others(launched: Callable[..., Prepared]) -> None:
    gone, stays = launched("gone"), launched("stays")
    bench = bench_of(gone, [])
    assert claimed(bench) == ("gone@cpu", 0)
    delete_study(gone.store, gone.study)
    assert [claimed(bench) for _ in range(2)] == [("stays@cpu", 0), ("stays@cpu", 1)]
    bench.close()
    only = open_bench(stays.orders[0], print)
    delete_study(stays.store, stays.study)
    assert claimed(only) is NoTrialReason.DELETED
    only.close()


def test_a_budget_that_is_raised_is_seen(launched: Callable[..., Prepared]) -> None:
    prepared = launched("one", n_trials=1)
    order = replace(prepared.orders[0], study=None)
    assert work(order, Leaving()) == NoTrialReason.NOTHING_LEFT
    bench = bench_of(prepared, [])
    assert claimed(bench) is NoTrialReason.NOTHING_LEFT
    launched("one", n_trials=2)
    assert claimed(bench) == ("one@cpu", 1)
    bench.close()


def test_a_lost_workers_trial_is_taken_up_though_the_rest_is_taken(
    launched: Callable[..., Prepared],
) -> None:
    prepared = launched("one", n_trials=1)
    lost = queue.claim(prepared.store, prepared.study, "lost", lease=-1.0)
    assert isinstance(lost, Claim)
    bench = bench_of(prepared, [])
    assert claimed(bench) == ("one@cpu", 0)
    bench.close()


def test_pictures_given_are_looked_at_first(
    launched: Callable[..., Prepared], tmp_path: Path
) -> None:
    prepared = launched("one", n_trials=1)
    (tmp_path / "others").mkdir()
    order = replace(prepared.orders[0], folder=tmp_path / "others")
    assert work(order, Leaving()) == NoTrialReason.BUDGET_MET  # digits are built in
    change(prepared, fingerprint="0123456789abcdef", state="active", budget="2")
    with pytest.raises(DataError, match=r"are not here: .*others.*; digits holds others"):
        work(order, Leaving())
