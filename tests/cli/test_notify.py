from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.cli.notify import command_words, notified
from optuna_study.errors import NothingCompletedError, UsageError
from optuna_study.launch.task import Task
from optuna_study.paths import Workspace

if TYPE_CHECKING:
    from pathlib import Path

TAKES_STDIN = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"


def test_the_words_are_those_of_a_command_line_that_can_be_run() -> None:
    assert command_words(None) == []
    assert command_words("sh -c 'cat > \"a b\"'") == ["sh", "-c", 'cat > "a b"']
    for text in ("no-such-program --now", "", "sh 'open"):
        with pytest.raises(UsageError, match="--notify"):
            command_words(text)


def test_a_command_gets_the_outcome_of_a_launch(stored_study: Any, tmp_path: Path) -> None:
    stored_study.run([0.25, 0.5])
    task = Task(stored_study.store, stored_study.study, Workspace(tmp_path))
    told = tmp_path / "told.json"
    words = [sys.executable, "-c", TAKES_STDIN, str(told)]
    with notified(words, task):
        assert not told.exists()
    outcome = json.loads(told.read_text())
    assert (outcome["exit_code"], outcome["error"]) == (0, None)
    assert (outcome["study"]["name"], outcome["study"]["best"]["value"]) == ("small", 0.5)
    with pytest.raises(NothingCompletedError), notified(words, task):
        raise NothingCompletedError("no trial completed")
    outcome = json.loads(told.read_text())
    assert (outcome["exit_code"], outcome["error"]) == (3, "no trial completed")


def test_a_command_that_fails_changes_nothing(
    stored_study: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(stored_study.store, stored_study.study, Workspace(tmp_path))
    with notified(["false"], task):
        pass
    assert "--notify: false ended with exit code 1" in caplog.text
    with notified([str(tmp_path / "gone")], task):
        pass
    assert "No such file" in caplog.text
