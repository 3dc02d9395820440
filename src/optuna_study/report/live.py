"""The table that `launch` keeps on the screen, and the plain lines where there is no screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from optuna_study.report import words
from optuna_study.report.summary import ending
from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from optuna_study.report.summary import Running, Summary
    from optuna_study.store.records import TrialRecord

COLOURS = {
    EndKind.COMPLETED: "green",
    EndKind.PRUNED: "yellow",
    EndKind.DIVERGED: "magenta",
    EndKind.OUT_OF_MEMORY: "magenta",
    EndKind.FAILED: "red",
}
BAR = 28
CURVE = 16
HEADER = f"trial    epoch    loss  accuracy  {'':{CURVE}}        time  configuration"


def view(
    summary: Summary, running: Sequence[Running], recent: Sequence[TrialRecord]
) -> RenderableType:
    """The study as it stands: progress, what runs, what ended last, best against best baseline."""
    parts: list[RenderableType] = [_progress(summary), _ends(summary)]
    if running:
        parts += [Text(), Text(HEADER, "dim", no_wrap=True), *(_running(each) for each in running)]
    if recent:
        parts += [Text(), *(_recent(summary, trial) for trial in recent)]
    parts += [Text(), _standing(summary)]
    return Group(*parts)


def ended_line(summary: Summary, trial: TrialRecord) -> str:
    """One line for a trial that has ended, where no table can be drawn."""
    value = words.metric(summary.study.metric, trial.value)
    took = words.duration(trial.worked)
    return (
        f"trial {trial.number} ({label(trial)}): {ending(trial)}, {value}, {took}; {trial.reason}"
    )


def progress_line(summary: Summary) -> str:
    """Where the study stands, in one line."""
    tally, study = summary.tally, summary.study
    parts = [f"{tally.ended} of {study.budget} trials ended", f"{tally.running} running"]
    if summary.best:
        parts.append(f"best {words.metric(study.metric, summary.best.value)}")
    if summary.best_baseline:
        parts.append(f"best baseline {words.metric(study.metric, summary.best_baseline.value)}")
    if summary.seconds_left:
        parts.append(f"about {words.duration(summary.seconds_left)} left")
    return ", ".join(parts)


def label(trial: TrialRecord) -> str:
    """A trial's baseline, or its main settings."""
    return trial.baseline or words.headline(trial.parameters) or "not drawn yet"


def _progress(summary: Summary) -> Text:
    tally, budget = summary.tally, summary.study.budget
    filled = min(BAR, BAR * tally.ended // max(budget, 1))
    text = Text.assemble(
        (summary.study.name, "bold"),
        "  ",
        ("━" * filled, "green"),
        ("━" * (BAR - filled), "bright_black"),
        f"  {tally.ended}/{budget}",
    )
    if summary.seconds_left:
        text.append(f"  about {words.duration(summary.seconds_left)} left", "dim")
    return text


def _ends(summary: Summary) -> Text:
    tally = summary.tally
    text = Text()
    for kind, amount in tally.ends.items():
        if amount:
            text.append(f"{amount} {kind.value}", COLOURS[kind]).append("  ")
    if tally.plain:
        text.append(f"{tally.plain} by plain Optuna  ")
    text.append(f"{tally.running} running", "cyan")
    if tally.waiting:
        text.append(f"  {tally.waiting} waiting", "dim")
    return text


def _running(each: Running) -> Text:
    last = each.curve[-1] if each.curve else None
    accuracies = [epoch.validation_accuracy for epoch in each.curve]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{each.trial.number:>5}  ", "cyan")
    text.append(f"{f'{last.epoch if last else 0}/{each.epochs}':>7}  ")
    text.append(f"{f'{last.validation_loss:.3f}' if last else '':>6}  ")
    accuracy = words.metric(words.ACCURACY, last.validation_accuracy) if last else ""
    text.append(f"{accuracy:>8}  ")
    text.append(f"{words.sparkline(accuracies, width=CURVE, low=0, high=1):<{CURVE}}  ", "cyan")
    text.append(f"{words.duration(each.seconds):>10}  ")
    return text.append(label(each.trial), "bold" if each.trial.baseline else "")


def _recent(summary: Summary, trial: TrialRecord) -> Text:
    kind = trial.end
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{trial.number:>5}  ", "dim")
    text.append(f"{ending(trial):<10} ", COLOURS[kind] if kind else "dim")
    text.append(f"{words.metric(summary.study.metric, trial.value):>7}  ")
    text.append(label(trial), "bold" if trial.baseline else "")
    if kind is not EndKind.COMPLETED and trial.reason:
        text.append(f"  {trial.reason}", "dim")
    return text


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
