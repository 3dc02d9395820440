"""A command of one's own that is told how a launch ended."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optuna_study.errors import OptunaStudyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna_study.launch.task import StudyTask

SECONDS = 60.0  # that it may take

log = logging.getLogger(__name__)


def command_words(text: str | None) -> list[str]:
    """The words of `--notify`; none where it was not given. No shell sees them.

    Raises:
        UsageError: no program of this name can be run.
    """
    if text is None:
        return []
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--notify {text}: {error}") from error
    if not words or shutil.which(words[0]) is None:
        raise UsageError(
            f"--notify {text}: no program that can be run; for a shell's line give sh -c '...'"
        )
    return words


@contextmanager
def notified(words: Sequence[str], task: StudyTask) -> Iterator[None]:
    """When the block ends, however it does, run a command with the outcome as JSON on stdin.

    It has `exit_code` and `error` (null where all went well) of the launch, and as `study` what
    `show -f json` prints. A command that fails is logged and changes nothing.
    """
    error: BaseException | None = None
    try:
        yield
    except BaseException as ended:
        error = ended
        raise
    finally:
        if words:
            _run(words, task, error)


def _run(words: Sequence[str], task: StudyTask, error: BaseException | None) -> None:
    from optuna_study.report.show import show_study

    known = error.exit_code if isinstance(error, OptunaStudyError) else 1
    code = 130 if isinstance(error, KeyboardInterrupt) else known
    outcome = {
        "exit_code": code if error else 0,
        "error": (str(error) or type(error).__name__) if error else None,
    }
    try:
        study = json.loads(show_study(task.store, task.study, "json", ""))
    except OptunaStudyError as failed:  # the store is away, or the study was deleted
        study = {"name": task.study.name, "problem": str(failed)}
    try:
        done = subprocess.run(
            words,
            input=json.dumps(outcome | {"study": study}),
            text=True,
            stdout=sys.stderr.fileno(),
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        log.warning("--notify: %s", failed)
        return
    if done.returncode:
        log.warning("--notify: %s ended with exit code %d", words[0], done.returncode)
