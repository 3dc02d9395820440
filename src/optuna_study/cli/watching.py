"""What a launch and a training run show on stderr while they work."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from optuna_study.errors import CheckFailedError
from optuna_study.report import live, text, words
from optuna_study.report.export import telling_settings, trial_config
from optuna_study.report.follow import Follower
from optuna_study.report.load import load_summary
from optuna_study.report.load import now as clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from optuna_study.report.follow import Look
    from optuna_study.report.verify import Verdict
    from optuna_study.store.records import TrialRecord
    from optuna_study.training.config import EpochResult
    from optuna_study.workers.launch import Prepared
    from optuna_study.workers.supervise import Tick

RECENT = 5
NOTES_SHOWN = 3
BETWEEN_DRAWINGS = 1.0  # seconds
BETWEEN_LINES = 30.0  # seconds without an ended trial after which plain output shows a life sign

log = logging.getLogger(__name__)


def follow(prepared: Prepared, ticks: Iterable[Tick], *, quiet: bool) -> None:
    """Show a launch until it is over: a live table on a terminal, else a line now and then.

    Raises:
        OptunaStudyError: whatever ends the launch.
    """
    for note in prepared.notes[:NOTES_SHOWN]:
        log.info("%s", note)
    if len(prepared.notes) > NOTES_SHOWN:
        log.info(
            "and %d more such remarks; `optuna-study data check %s` gives all",
            len(prepared.notes) - NOTES_SHOWN,
            prepared.study.data_source,
        )
    if quiet:
        for _ in ticks:
            pass
        return
    follower = Follower(prepared.store, prepared.study)
    if prepared.resumed:
        log.info(
            "%s goes on: %s", prepared.study.name, live.progress_line(follower.look().summary)
        )
    if sys.stderr.isatty():
        _draw(follower, ticks)
    else:
        _write_lines(follower, ticks)


def closing(prepared: Prepared, place: str = "") -> str:
    """The page a launch ends with; `place` are its options that later commands need as well."""
    study = prepared.study
    summary = load_summary(prepared.store, study)
    if summary.best is None or summary.groups:
        return text.closing_page(summary, None, None, [], place)
    best = trial_config(study, summary.best)
    beside = summary.best_baseline
    baseline = trial_config(study, beside) if beside is not None else None
    names = telling_settings(study, summary.best, baseline)
    return text.closing_page(summary, best, baseline, names, place)


def epoch_line(result: EpochResult, epochs: int) -> None:
    """Say what an epoch of `train` gave."""
    log.info(
        "epoch %*d/%d  loss %.4f  accuracy %7s  validation loss %.4f  accuracy %7s  %s",
        len(str(epochs)),
        result.epoch,
        epochs,
        result.train_loss,
        words.metric(words.ACCURACY, result.train_accuracy),
        result.validation_loss,
        words.metric(words.ACCURACY, result.validation_accuracy),
        words.duration(result.seconds),
    )


def require_match(verdict: Verdict | None) -> None:
    """Turn a comparison that failed into the program's error.

    Raises:
        CheckFailedError: the run differs from the recorded one.
    """
    if verdict is not None and not verdict.matches:
        raise CheckFailedError(f"differs from what the search recorded: {verdict.sentences[0]}")


def _draw(follower: Follower, ticks: Iterable[Tick]) -> None:
    from rich.console import Console
    from rich.live import Live

    recent: deque[TrialRecord] = deque(maxlen=RECENT)
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as screen:

        def draw(look: Look) -> None:
            recent.extend(look.ended)
            screen.update(live.view(look.summary, look.running, recent, clock()), refresh=True)

        _paced(follower, ticks, draw)


def _write_lines(follower: Follower, ticks: Iterable[Tick]) -> None:
    spoken = time.monotonic() - BETWEEN_LINES

    def write(look: Look) -> None:
        nonlocal spoken
        for trial in look.ended:
            log.info("%s", live.ended_line(look.summary, trial))
            spoken = time.monotonic()
        if time.monotonic() - spoken >= BETWEEN_LINES:
            spoken = time.monotonic()
            log.info("%s", live.progress_line(look.summary))

    _paced(follower, ticks, write)


def _paced(follower: Follower, ticks: Iterable[Tick], show: Callable[[Look], None]) -> None:
    """Look at the study about once a second, and once more when all is over, however it ends."""
    drawn = 0.0
    try:
        for tick in ticks:
            for message in tick.messages:
                log.info("%s", message)
            if time.monotonic() - drawn >= BETWEEN_DRAWINGS:
                show(follower.look())
                drawn = time.monotonic()
    finally:
        show(follower.look())
