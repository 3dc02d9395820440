"""The table that `launch` keeps on the screen, and the plain lines where there is no screen."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from optuna_study.report import values as words
from optuna_study.report.load import now as clock
from optuna_study.report.summary import ending, held_up, label, why
from optuna_study.store.records import EndKind, StudyState
from optuna_study.text import duration, pasteable, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from optuna_study.report.follow import Follower
    from optuna_study.report.summary import Running, Summary
    from optuna_study.store.records import TrialRecord

COLOURS = {
    EndKind.COMPLETED: "green",
    EndKind.PRUNED: "yellow",
    EndKind.DIVERGED: "magenta",
    EndKind.OUT_OF_MEMORY: "magenta",
    EndKind.FAILED: "red",
}
BETWEEN_DRAWINGS = 1.0  # seconds
RECENT = 5  # trials that ended, below the running ones
BAR = 28
SHORTEST_BAR = 4
CURVE = 14
HEADER = f"trial    epoch    loss  accuracy  {'':{CURVE}}        time  configuration"


def view(
    summary: Summary, running: Sequence[Running], recent: Sequence[TrialRecord], now: float
) -> RenderableType:
    """The study as it stands: progress, what runs, what ended last, best against best baseline."""
    parts: list[RenderableType] = [_Progress(summary), _ends(summary)]
    if running:
        parts += [
            Text(),
            Text(HEADER, "dim", no_wrap=True),
            *(_running(each, summary.study.metric, now) for each in running),
        ]
    if recent:
        parts += [Text(), *(_recent(summary, trial) for trial in recent)]
    parts += [Text(), _standing(summary)]
    return Group(*parts)


class LiveTable:
    """The view of a study that is looked at again and again, with what ended last."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._recent: deque[TrialRecord] = deque(maxlen=RECENT)

    def draw(self) -> RenderableType:
        """The study as it stands now.

        Raises:
            StoreError: the store fails.
        """
        look = self._follower.look()
        self._recent.extend(look.ended)
        return view(look.summary, look.running, self._recent, clock())


def ended_line(summary: Summary, trial: TrialRecord) -> str:
    """One line for a trial that has ended, where no table can be drawn."""
    parts = [
        f"{summary.counts.ended}/{summary.study.total}  trial {trial.number} ({label(trial)})",
        ending(trial),
        words.metric(summary.study.metric, trial.value),
        duration(trial.worked),
    ]
    line = "  ".join(parts)
    return f"{line}  {why(trial)}" if why(trial) else line


def progress_line(summary: Summary, place: str = "") -> str:
    """Where the study stands, in one line; `place` are options that its commands need."""
    counts, study = summary.counts, summary.study
    parts = [
        f"{counts.ended} of {study.total} trials ended",
        f"{counts.running} running",
    ]
    if summary.best:
        parts.append(f"best {words.metric(study.metric, summary.best.value)}")
    if summary.best_baseline:
        parts.append(f"best baseline {words.metric(study.metric, summary.best_baseline.value)}")
    if summary.seconds_left:
        parts.append(f"about {duration(summary.seconds_left)} left")
    if stands := _stands(summary):
        parts.append(stands)
    if waits := held_up(study, counts):
        parts.append(pasteable(waits, place))
    return ", ".join(parts)


@dataclass(frozen=True)
class _Progress:
    """Where the study stands in a line, whose bar is as long as the screen leaves room for."""

    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        counts, budget = self.summary.counts, self.summary.study.total
        after = Text(f"{counts.ended}/{budget}")
        if self.summary.seconds_left:
            after.append(f"  about {duration(self.summary.seconds_left)} left", "dim")
        if stands := _stands(self.summary):
            after.append(f"  {stands}", "yellow")
        name = printable(self.summary.study.name)
        room = options.max_width - cell_len(f"{name}    ") - after.cell_len
        length = min(BAR, room) if room >= SHORTEST_BAR else 0
        filled = min(length, length * counts.ended // max(budget, 1))
        bar = ("━" * filled, "green"), ("━" * (length - filled), "bright_black")
        yield Text.assemble((name, "bold"), "  ", *bar, "  " if length else "", after)
        if waits := held_up(self.summary.study, counts):
            yield Text(waits, "yellow")


def _stands(summary: Summary) -> str:
    """Why nothing new begins: paused, stopped, failed too often, or nobody at work."""
    study, counts = summary.study, summary.counts
    met = counts.ended >= study.total
    stands = words.standing(study.state, running=counts.running, met=met, halted=study.halted)
    if stands == StudyState.ACTIVE:
        return "" if counts.running else "waiting for a worker"
    return "" if met else stands


def _ends(summary: Summary) -> Text:
    counts = summary.counts
    text = Text()
    for kind, colour in COLOURS.items():
        if counts.ends.get(kind):
            text.append(f"{counts.ends[kind]} {kind.value}", colour).append("  ")
    plain = sum(counts.plain.values())
    if plain:
        text.append(f"{plain} by plain Optuna  ")
    text.append(f"{counts.running} running", "cyan")
    if counts.waiting:
        text.append(f"  {counts.waiting} waiting", "dim")
    return text


def _running(each: Running, metric: str, now: float) -> Text:
    last = each.progress.last
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{each.trial.number:>5}  ", "cyan")
    text.append(f"{f'{last.epoch if last else 0}/{each.progress.epochs}':>7}  ")
    text.append(f"{f'{last.validation_loss:.3f}' if last else '':>6}  ")
    accuracy = words.metric(words.ACCURACY, last.validation_accuracy) if last else ""
    text.append(f"{accuracy:>8}  ")
    text.append(f"{_curve(each.progress.values, metric):<{CURVE}}  ", "cyan")
    text.append(f"{duration(now - (each.trial.started or now)):>10}  ")
    return text.append(label(each.trial), "bold" if each.trial.baseline else "")


def _curve(values: Sequence[float], metric: str) -> str:
    if metric in words.SHARES:  # one scale for all, so that trials compare
        return words.sparkline(values, width=CURVE, low=0, high=1)
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    return words.sparkline(values, width=CURVE, low=min(finite), high=max(finite))


def _recent(summary: Summary, trial: TrialRecord) -> Text:
    kind = trial.end
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{trial.number:>5}  ", "dim")
    text.append(f"{ending(trial):<10} ", COLOURS[kind] if kind else "dim")
    text.append(f"{words.metric(summary.study.metric, trial.value):>7}  ")
    text.append(label(trial), "bold" if trial.baseline else "")
    return text.append(f"  {printable(why(trial))}", "dim")


def _standing(summary: Summary) -> Text:
    study, best, baseline = summary.study, summary.best, summary.best_baseline
    if best is None:
        return Text("no trial has completed yet", "dim")
    text = Text(no_wrap=True, overflow="ellipsis").append("best      ", "dim")
    text.append(f"{words.metric(study.metric, best.value):>7}", "bold green")
    text.append(f"  trial {best.number}: {label(best)}")
    if baseline is None or baseline.value is None or best.value is None:
        return text
    text.append("\nbaseline  ", "dim").append(f"{words.metric(study.metric, baseline.value):>7}")
    text.append(f"  trial {baseline.number}: {label(baseline)}")
    if best.number != baseline.number:
        gain = words.difference(study.metric, best.value, baseline.value, study.direction)
        text.append(f"  (best is {gain})", "dim")
    return text
