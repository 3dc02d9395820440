"""What a launch and a training run show on stderr while they work."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import invocation, place_options
from optuna_study.cli.output import cursor_stream
from optuna_study.errors import CheckFailedError, NothingCompletedError, UnreachableError
from optuna_study.report import live, pages, values
from optuna_study.report.comparison.page import is_comparison
from optuna_study.report.curves.read import read_study
from optuna_study.report.export import telling_settings, trial_config
from optuna_study.report.follow import Follower, StoreFollower
from optuna_study.report.load import load_summary
from optuna_study.store.studies.studies import find_study
from optuna_study.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from optuna_study.config.epoch import EpochResult
    from optuna_study.launch.task import AnyTask, StudyTask, Tick
    from optuna_study.report.verify import Verdict
    from optuna_study.store.engine.connection import Store
    from optuna_study.store.records import StudyRecord

NOTES_SHOWN = 5
BETWEEN_LINES = 30.0  # seconds without an ended trial after which plain output shows a life sign

log = logging.getLogger(__name__)


def see_through(task: AnyTask, ticks: Iterable[Tick], place: str, *, quiet: bool) -> None:
    """Follow to the end and print the page it ends with, also when nothing completed.

    `place` are the options that later commands need as well.

    Raises:
        OptunaStudyError: whatever ends it.
    """
    nothing_completed = None
    try:
        follow(task, ticks, quiet=quiet)
    except NothingCompletedError as error:
        nothing_completed = error
    if task.study is not None:
        click.echo(closing(task.store, task.study, place))
    if nothing_completed is not None:
        raise nothing_completed


def register(task: StudyTask, place: str, *, quiet: bool) -> None:
    """Say what a study is called that others are to work on: its name alone on stdout."""
    _say_notes(task)
    click.echo(task.study.name)
    if not quiet:
        name = shlex.quote(task.study.name)
        named = [module for worker in task.workers[:1] for module in worker.allowed]
        allow = "".join(f" --allow {module}" for module in named)
        click.echo(f"optuna-study worker {name}{allow}{place}", err=True)


def follow(task: AnyTask, ticks: Iterable[Tick], *, quiet: bool) -> None:
    """Show what happens until it is over: a live table on a terminal, else a line now and then.

    Raises:
        OptunaStudyError: whatever ends it.
    """
    _say_notes(task)
    if quiet:
        for _ in ticks:
            pass
        return
    study = task.study
    if study is None:
        _write_ends(StoreFollower(task.store), ticks)
        return
    follower = Follower(task.store, study)
    if task.resumed:
        line = live.progress_line(follower.look().summary, place_options())
        log.info("%s goes on: %s", study.name, line)
    if sys.stderr.isatty():
        _draw(follower, ticks)
    else:
        _write_lines(follower, ticks)


def _say_notes(task: AnyTask) -> None:
    for note in task.notes[:NOTES_SHOWN]:
        log.info("%s", note)
    if len(task.notes) > NOTES_SHOWN and task.study is not None:
        log.info(
            "and %d more such remarks; `optuna-study data check %s` gives all",
            len(task.notes) - NOTES_SHOWN,
            task.study.data_source,
        )


def closing(store: Store, study: StudyRecord, place: str = "") -> str:
    """The page a launch ends with; `place` are its options that later commands need as well."""
    study = find_study(store, study.name) or study  # what is to be run may have become more
    readings = read_study(store, study) if is_comparison(study) else ()
    summary = load_summary(store, study, readings)
    if summary.best is None or summary.comparison:
        return pages.closing_page(summary, None, None, [], place)
    winner = summary.winner or summary.best
    best = trial_config(study, winner)
    beside = summary.best_baseline
    baseline = trial_config(study, beside) if beside is not None else None
    names = telling_settings(study, winner, baseline)
    return pages.closing_page(summary, best, baseline, names, place)


def epoch_line(result: EpochResult, epochs: int) -> None:
    """Say what an epoch of `train` gave."""
    log.info(
        "epoch %*d/%d  loss %.4f  accuracy %7s  validation loss %.4f  accuracy %7s  %s",
        len(str(epochs)),
        result.epoch,
        epochs,
        result.train_loss,
        values.metric(values.ACCURACY, result.train_accuracy),
        result.validation_loss,
        values.metric(values.ACCURACY, result.validation_accuracy),
        duration(result.seconds),
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

    table = live.LiveTable(follower)
    with Live(console=Console(file=cursor_stream()), auto_refresh=False, transient=True) as screen:
        _paced(ticks, lambda: screen.update(table.draw(), refresh=True))


def _write_lines(follower: Follower, ticks: Iterable[Tick]) -> None:
    spoken = time.monotonic() - BETWEEN_LINES

    def write() -> None:
        nonlocal spoken
        look = follower.look()
        for trial in look.ended:
            log.info("%s", live.ended_line(look.summary, trial))
            spoken = time.monotonic()
        if time.monotonic() - spoken >= BETWEEN_LINES:
            spoken = time.monotonic()
            log.info("%s", live.progress_line(look.summary, place_options()))

    _paced(ticks, write)


def _write_ends(follower: StoreFollower, ticks: Iterable[Tick]) -> None:
    spoken = time.monotonic()

    def write() -> None:
        nonlocal spoken
        for summary, trial in follower.look():
            log.info("%s  %s", summary.study.name, live.ended_line(summary, trial))
        if time.monotonic() - spoken >= BETWEEN_LINES:
            spoken = time.monotonic()
            for sentence in follower.held_up(place_options()):
                log.info("%s", sentence)

    _paced(ticks, write)


def _paced(ticks: Iterable[Tick], show: Callable[[], None]) -> None:
    """Show about once a second, and once more when all is over, however it ends.

    A store that is away for a moment shows nothing: the work behind it may go on.
    """
    drawn = 0.0
    try:
        for tick in ticks:
            for message in tick.messages:
                log.info("%s", invocation().pasteable(message))
            if time.monotonic() - drawn >= live.BETWEEN_DRAWINGS:
                with suppress(UnreachableError):
                    show()
                drawn = time.monotonic()
    finally:
        with suppress(UnreachableError):
            show()
