"""What `doctor` found: a line a thing, grouped curves, as text or JSON; pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna_study.config.reasons import Failed
from optuna_study.report import formats, values
from optuna_study.report.curves.patterns import Pattern
from optuna_study.report.tables import hanging
from optuna_study.text import Advice, count, pasteable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from optuna_study.report.curves.read import Reading
    from optuna_study.store.records import TrialRecord

FEWEST_CURVES = 5  # fewer do not tell what is common
FAILINGS = (Pattern.DIVERGING, Pattern.DEAD, Pattern.POOR_INITIALISATION, Pattern.LR_TOO_LARGE)
NAMED_TRIALS = 8  # a line names no more, JSON names all


@dataclass(frozen=True)
class Line:
    """One thing that was looked at; `step` is what to do next, None where nothing needs a hand.

    `advice` is what could be done about something that is as it may be.
    """

    check: str  # store, workers, trials, files, data, machine or curves
    what: str  # what and where
    step: str | None = None
    advice: str | None = None


@dataclass(frozen=True)
class Checkup:
    """Everything that was looked at; `about` is the study, or the store."""

    about: str
    lines: tuple[Line, ...]
    readings: tuple[Reading, ...] = ()

    @property
    def findings(self) -> int:
        """How many things need a hand."""
        return sum(line.step is not None for line in self.lines)

    @property
    def verdict(self) -> str:
        """What was found, in one line."""
        return f"{self.about}: {count(self.findings, 'finding')}, see the lines above"


def curve_lines(readings: Sequence[Reading], name: str, pictures: int | None = None) -> list[Line]:
    """The patterns of a study's curves, one a line: whose they are, the first's cause, advice.

    A search tries what may fail: that some curves do is exploration, and no finding. That more
    than half of several show the same failing is one: the space, or the pictures, need a hand.
    Curves on few validation `pictures` go in steps, which is no unrest of training.
    """
    coarse = values.grain(pictures)
    lines = [Line("curves", f"{name}: {coarse[0].lower()}{coarse[1:-1]}")] if coarse else []
    for pattern in Pattern:
        found = [each for each in readings if each.diagnosis.pattern is pattern]
        if not found:
            continue
        trials = f"{pattern.label}: {_numbers(each.trial.number for each in found)}"
        if not pattern.is_finding:
            lines.append(Line("curves", trials))
            continue
        # A baseline, where there is one: people know it by its name.
        first = next((each for each in found if each.trial.baseline), found[0])
        named = f"trial {first.trial.number}"
        named += f" ({first.trial.baseline})" if first.trial.baseline else ""
        head = f"{trials}; {named}" if len(found) > 1 else f"{pattern.label}: {named}"
        what = f"{head}: {first.diagnosis.cause}"
        advice = first.diagnosis.advice
        common = len(readings) >= FEWEST_CURVES and 2 * len(found) > len(readings)
        if common and pattern in FAILINGS:
            lines.append(Line("curves", f"more than half of the trials, {what}", advice))
        else:
            lines.append(Line("curves", what, advice=advice))
    if not readings:
        lines.append(Line("curves", f"{name} has no curve to read yet"))
    return lines


def failure_lines(failed: Sequence[TrialRecord], name: str) -> list[Line]:
    """Failed trials, one line an error, in whichever epoch it was raised."""
    errors: dict[str, list[int]] = {}
    for trial in failed:
        reason = trial.reason or "no reason"
        error = reason.error if isinstance(reason, Failed) else str(reason)
        errors.setdefault(error, []).append(trial.number)
    return [
        Line(
            "trials",
            f"failed: {_numbers(numbers)}: {error}",
            Advice(["show", name, "--trial", str(numbers[0])], " has the traceback."),
        )
        for error, numbers in errors.items()
    ]


def plain_lines(running: Sequence[tuple[int, float | None]], name: str) -> list[Line]:
    """A line for the trials that plain Optuna runs, given with their starts, where there are any.

    Nobody here can tell whether their processes are alive.
    """
    if not running:
        return []
    numbers = [number for number, _ in running]
    since = values.moment(min((start for _, start in running if start is not None), default=None))
    one = len(numbers) == 1
    return [
        Line(
            "workers",
            f"{name}: {_numbers(numbers)} {'is' if one else 'are'} run by plain Optuna"
            f"{f' since {since}' if since else ''}; nothing here ends {'it' if one else 'them'}",
            f"Where the process is gone, `study.tell({numbers[0]}, "
            "state=optuna.trial.TrialState.FAIL)` in Python ends it; a larger --n-trials of "
            "`launch` goes on without it.",
        )
    ]


def render(checkup: Checkup, form: str, place: str = "") -> str:
    """A checkup as text or JSON; `place` are options that the text's commands need as well."""
    row: dict[str, Any] = {
        "about": checkup.about,
        "findings": checkup.findings,
        "lines": [
            {"check": line.check, "ok": line.step is None, "what": line.what, "step": line.step}
            | {"advice": line.advice}
            for line in checkup.lines
        ],
        "curves": [
            {"trial": each.trial.number, "baseline": each.trial.baseline}
            | dataclasses.asdict(each.diagnosis)
            for each in checkup.readings
        ],
    }
    return formats.render(form, row, _text(checkup.lines, place))


def _text(lines: Sequence[Line], place: str) -> str:
    """A line a thing, what is wrong marked; below it the next step."""
    width = max(len(line.check) for line in lines)
    shown = []
    for line in lines:
        mark = "ok" if line.step is None else "! "
        said = [f"{mark}  {line.check:<{width}}  {pasteable(line.what, place)}"]
        if line.step is not None:
            said.append(f"{'':{width + 6}}next: {pasteable(line.step, place)}")
        elif line.advice is not None:
            said.append(f"{'':{width + 6}}could: {pasteable(line.advice, place)}")
        shown += [hanging(text, width + 6) for text in said]
    return "\n".join(shown)


def _numbers(numbers: Iterable[int]) -> str:
    """Trial numbers after their noun.

    >>> _numbers([3]), _numbers([1, 2])
    ('trial 3', 'trials 1, 2')
    """
    listed = list(numbers)
    shown = ", ".join(map(str, listed[:NAMED_TRIALS]))
    more = f" and {len(listed) - NAMED_TRIALS} more" if len(listed) > NAMED_TRIALS else ""
    return f"trial{'' if len(listed) == 1 else 's'} {shown}{more}"
