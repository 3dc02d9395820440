"""What a launch shows while it works; the launch itself is a fake."""

from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.cli.options import Invocation
from optuna_study.cli.watching import closing, follow, register, require_match, see_through
from optuna_study.errors import CheckFailedError, InterruptedBySignalError, NothingCompletedError
from optuna_study.report.verify import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Prepared:
    """As much of a prepared launch as the view reads."""

    store: Any
    study: Any
    resumed: bool = False
    notes: tuple[str, ...] = ("No pictures here.",)
    workers: tuple[()] = ()


@dataclass
class Tick:
    messages: tuple[str, ...] = field(default=())


@pytest.fixture(autouse=True)
def _logging() -> None:
    Invocation().set_up_logging()


def _ticks(stored_study: Any) -> Iterator[Tick]:
    yield Tick()
    stored_study.run([0.5])
    yield Tick(("host-1-001 was killed by SIGKILL",))


def test_plain_lines_without_a_terminal(
    stored_study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared: Any = Prepared(stored_study.store, stored_study.study)
    ticks: Any = _ticks(stored_study)
    follow(prepared, ticks, quiet=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(" ")[2] for line in err.splitlines()] == [
        "No pictures here.",
        "0 of 6 trials ended, 0 running, waiting for a worker",
        "host-1-001 was killed by SIGKILL",
        "1/6  trial 0 (plain)  completed  50.0 %  0.5 s",
    ]


def test_a_whole_store_says_which_studies_wait_for_plain_optuna(
    held_up_study: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optuna_study.cli.watching.BETWEEN_LINES", 0.0)
    followed: Any = Prepared(held_up_study.store, None, notes=())
    ticks: Any = iter([Tick()])
    follow(followed, ticks, quiet=False)
    assert "small waits for 1 trial of plain Optuna, see `" in capsys.readouterr().err


def test_quiet_says_nothing(stored_study: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Invocation(verbosity=-1).set_up_logging()
    prepared: Any = Prepared(stored_study.store, stored_study.study)
    ticks: Any = _ticks(stored_study)
    follow(prepared, ticks, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_whole_store_gets_a_line_for_each_trial_that_ends(
    stored_study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stored_study.run([0.25])
    followed: Any = Prepared(stored_study.store, None, notes=())
    ticks: Any = _ticks(stored_study)
    see_through(followed, ticks, "", quiet=False)
    out, err = capsys.readouterr()
    assert out == ""  # no study of its own to sum up
    assert [line.partition(" ")[2] for line in err.splitlines()] == [
        "host-1-001 was killed by SIGKILL",
        "small  2/6  trial 1 (wild)  completed  50.0 %  0.5 s",
    ]


def test_the_closing_page_comes_after_a_fruitless_end_too(
    stored_study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def ticks() -> Iterator[Tick]:
        yield Tick()
        raise NothingCompletedError("small: 0 trials ended and none completed")

    prepared: Any = Prepared(stored_study.store, stored_study.study)
    fruitless: Any = ticks()
    with pytest.raises(NothingCompletedError, match="none completed"):
        see_through(prepared, fruitless, " --artifacts here", quiet=True)
    out = capsys.readouterr().out
    assert out.startswith("No trial has completed.\n")
    assert "  optuna-study show small --artifacts here " in out


def test_commands_to_paste_stay_whole_on_a_narrow_terminal(
    stored_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_study.run([0.5])
    monkeypatch.setattr("optuna_study.report.pages.line_width", lambda: 60)
    page = closing(stored_study.store, stored_study.study)
    assert "  # all of it on one page to send\n  optuna-study report small -o " in page
    monkeypatch.setattr("optuna_study.report.pages.line_width", lambda: 200)
    assert "  # all of it" in closing(stored_study.store, stored_study.study)


def test_a_detached_launch_prints_its_name_alone(
    stored_study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared: Any = Prepared(stored_study.store, stored_study.study, notes=())
    register(prepared, " --storage postgresql://ann:***@db/x", quiet=False)
    assert capsys.readouterr() == (
        "small\n",
        "optuna-study worker small --storage postgresql://ann:***@db/x\n",
    )
    register(prepared, "", quiet=True)
    assert capsys.readouterr() == ("small\n", "")


def test_a_store_that_is_away_for_a_moment_costs_two_lines(
    stored_study: Any, unsteady: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared: Any = Prepared(unsteady.store, stored_study.study, notes=())

    def ticks() -> Iterator[Tick]:
        unsteady.away = True
        yield Tick()
        unsteady.away = False
        stored_study.run([0.5])

    passing: Any = ticks()
    follow(prepared, passing, quiet=False)
    lines = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    assert [line.partition(": ")[0].partition(" after ")[0] for line in lines] == [
        "the store is away, trying again and again",
        "the store is back",
        "1/6  trial 0 (plain)  completed  50.0 %  0.5 s",
    ]


def test_what_ends_a_launch_passes_through(
    stored_study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def ticks() -> Iterator[Tick]:
        stored_study.run([0.5])
        yield Tick()
        raise InterruptedBySignalError(2)

    prepared: Any = Prepared(stored_study.store, stored_study.study, resumed=True)
    interrupted: Any = ticks()
    with pytest.raises(InterruptedBySignalError):
        follow(prepared, interrupted, quiet=False)
    assert "small goes on: 0 of 6 trials ended" in capsys.readouterr().err


def test_a_log_line_survives_the_live_table() -> None:
    script = (
        "import logging\n"
        "from rich.console import Console\n"
        "from rich.live import Live\n"
        "from optuna_study.cli.options import Invocation\n"
        "Invocation().set_up_logging()\n"
        "with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as screen:\n"
        "    screen.update('a table', refresh=True)\n"
        "    logging.getLogger('optuna_study.x').info('kept line')\n"
        "    screen.update('another table', refresh=True)\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    done = subprocess.Popen([sys.executable, "-c", script], stderr=theirs, env=environment)
    os.close(theirs)
    received = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # Linux ends a pseudo-terminal so
            break
        if not chunk:
            break
        received += chunk
    os.close(ours)
    assert done.wait() == 0
    before, _, after = received.decode().partition("kept line")
    # The table is wiped before the line and drawn anew below it, so nothing is written over.
    assert "\x1b[2K" in before
    assert after.startswith("\r\n")


def test_a_verdict_that_matches_is_no_error() -> None:
    require_match(None)
    require_match(Verdict(True, True, ("same",)))
    with pytest.raises(CheckFailedError, match="differs from what the search recorded: epoch 2"):
        require_match(Verdict(False, True, ("epoch 2: loss",)))


def test_a_handler_is_set_once() -> None:
    Invocation().set_up_logging()
    Invocation().set_up_logging()
    assert len(logging.getLogger("optuna_study").handlers) == 1
