"""`pause`, `resume`, `stop`, `delete`, and what `list` and `show` say of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from optuna_study.store.queue import queue
from optuna_study.store.reads import reads
from optuna_study.store.records import Claim, EndKind, NoTrialReason
from optuna_study.store.schema import own_studies
from optuna_study.store.studies.studies import find_study, set_priority

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path


def test_a_paused_study_hands_nothing_out_until_it_is_resumed(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    stored_study.start([0.5])
    url = stored_study.url
    paused = cli("pause", "small", "--storage", url)
    assert (paused.code, paused.err) == (0, "")
    assert paused.out == (
        "small is paused; 1 running trial will finish; "
        f"`optuna-study resume small --storage {url}` lets it go on.\n"
    )
    assert queue.claim(stored_study.store, stored_study.study, "w") is NoTrialReason.PAUSED
    resumed = cli("resume", "small", "--storage", url)
    assert resumed.out == (
        f"small goes on, 6 trials to end; `optuna-study worker small --storage {url}` adds "
        "workers.\n"
    )
    assert isinstance(queue.claim(stored_study.store, stored_study.study, "w"), Claim)


def test_a_stopped_study_says_so(stored_study: Any, cli: Callable[..., Any]) -> None:
    claim = stored_study.start([0.5])
    url = stored_study.url
    assert cli("stop", "small", "--storage", url).out.startswith("small is stopped; 1 running")
    assert "stopping" in cli("list", "--storage", url).out
    queue.release(stored_study.store, claim, "stopped")
    assert cli("stop", "small", "--storage", url).out == (
        f"small is stopped; `optuna-study resume small --storage {url}` lets it go on.\n"
    )
    assert "stopped" in cli("list", "--storage", url).out
    lines = cli("show", "small", "--storage", url).out.splitlines()
    assert [line.split() for line in lines if line.startswith("state")] == [["state", "stopped"]]
    row = json.loads(cli("show", "small", "--storage", url, "-f", "json").out)
    assert (row["state"], row["priority"]) == ("stopping", 0)


@pytest.mark.slow
def test_a_study_that_failures_stopped_says_so_and_how_to_go_on(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    for _ in range(5):
        stored_study.run([0.5], EndKind.FAILED, reason="ValueError: no")
    place = f"--storage {stored_study.url}"
    assert " too many failures " in cli("list", *place.split()).out
    [row] = json.loads(cli("list", *place.split(), "-f", "json").out)
    assert (row["state"], row["halted"]) == ("active", True)
    resume = f"`optuna-study resume small {place}`"
    page = cli("show", "small", *place.split()).out
    assert f" too many failures in a row; {resume} lets it go on\n" in page
    assert json.loads(cli("show", "small", *place.split(), "-f", "json").out)["halted"]
    found = cli("doctor", *place.split(), "-f", "json")
    wrong = [line for line in json.loads(found.out)["lines"] if not line["ok"]]
    assert [line["what"] for line in wrong] == ["small: too many failed in a row, 1 left to run"]
    watched = cli("watch", "small", *place.split())
    assert watched.code == 3
    assert f"and {resume} or launching it again lets it go on\n" in watched.err
    cli("resume", "small", *place.split())
    assert " active " in cli("list", *place.split()).out


def test_a_study_that_is_done_needs_a_larger_budget(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    for _ in range(6):
        stored_study.run([0.5])
    said = cli("resume", "small", "--storage", stored_study.url).out
    assert said == (
        "small has ended all of its 6 trials; `optuna-study launch small --n-trials N "
        f"--storage {stored_study.url}` with more than 6 gives it more.\n"
    )


@pytest.mark.parametrize("command", ["pause", "resume", "stop", "watch", "worker"])
def test_an_unknown_study_is_not_found(
    stored_study: Any, cli: Callable[..., Any], command: str
) -> None:
    result = cli(command, "smal", "--storage", stored_study.url)
    assert (result.code, result.out) == (4, "")
    assert "no study 'smal'" in result.err
    assert "did you mean 'small'?" in result.err


def test_a_priority_is_listed_where_there_is_one(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    before = cli("list", "--storage", stored_study.url).out.splitlines()
    assert "priority" not in before[0]
    set_priority(stored_study.store, stored_study.study, 7)
    header, *_, line = cli("list", "--storage", stored_study.url).out.splitlines()
    assert header.split()[-1] == "priority"
    assert line.split()[-1] == "7"
    [row] = json.loads(cli("list", "--storage", stored_study.url, "-f", "json").out)
    assert row["priority"] == 7
    assert "priority  7" in cli("show", "small", "--storage", stored_study.url).out


@pytest.mark.slow
def test_watching_ends_with_ctrl_c(stored_study: Any, tmp_path: Path) -> None:
    stored_study.start([0.5])
    watching = subprocess.Popen(
        [sys.executable, "-m", "optuna_study", "watch", "small", "--storage", stored_study.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # Whoever starts the tests in the background has their processes ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert watching.stderr is not None
        assert "small goes on: 0 of 6 trials ended, 1 running" in watching.stderr.readline()
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=60)
    finally:
        watching.kill()
    assert (watching.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == "Interrupted."


def test_deleting_needs_a_yes(stored_study: Any, cli: Callable[..., Any]) -> None:
    stored_study.run([0.5])
    url = stored_study.url
    refused = cli("delete", "small", "--storage", url)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        f"Error: small in {url}: not removed, for nobody is there to ask; give --yes\n"
    )
    assert find_study(stored_study.store, "small") is not None
    done = cli("delete", "small", "--yes", "--storage", url)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"small is removed from {url}: 2 trials, 0 files\n"
    assert reads.list_studies(stored_study.store) == []


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_it_asks(stored_study: Any, tmp_path: Path, answer: str, code: int) -> None:
    stored_study.start([0.5])
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "optuna_study", "delete", "small"]
    process = subprocess.Popen(
        [*command, "--storage", stored_study.url],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    out, err = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == code, err
    url = stored_study.url
    assert err.startswith(f"Remove small in {url} with 2 trials, 1 of them running and all files?")
    assert (find_study(stored_study.store, "small") is None) == (answer == "y")
    assert out == ("" if answer == "n" else f"small is removed from {url}: 2 trials, 0 files\n")


@pytest.mark.postgres
@pytest.mark.slow
def test_a_read_only_server_is_said_and_later_obeys(
    store_file: Callable[..., Any],
    cli: Callable[..., Any],
    postgres_url: str,
    read_only_server: AbstractContextManager[None],
) -> None:
    store_file(url=postgres_url)
    with read_only_server:
        assert cli("list", "--storage", postgres_url).code == 0
        refused = cli("pause", "small", "--storage", postgres_url)
    assert (refused.code, refused.out) == (5, "")
    [said] = [line for line in refused.err.splitlines() if line.startswith("Error:")]
    assert "takes no writes for now (cannot execute UPDATE in a read-only transaction)" in said
    assert said.endswith("target_session_attrs=read-write in a URL with several hosts")
    assert cli("pause", "small", "--storage", postgres_url).code == 0


def test_studies_of_others_are_left_out_of_mine(
    store_study: Callable[..., Any],
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = store_study(tmp_path)
    with stored.store.write() as connection:
        environment = json.dumps({**stored.study.environment, "owner": "ada"})
        connection.execute(update(own_studies).values(environment=environment))
    place = ("--storage", stored.url)
    for owner, names in (("ada", ["small"]), ("grace", [])):
        monkeypatch.setenv("OPTUNA_STUDY_OWNER", owner)
        rows = json.loads(cli("list", "--mine", *place, "-f", "json").out)
        assert [row["name"] for row in rows] == names
    [row] = json.loads(cli("list", *place, "-f", "json").out)
    assert row["owner"] == "ada"
    assert ["owner", "ada"] in [
        line.split() for line in cli("show", "small", *place).out.splitlines()
    ]
