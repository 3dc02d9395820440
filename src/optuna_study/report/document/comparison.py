"""What a report says of several studies beside each other."""

from __future__ import annotations

import itertools
import math
import shlex
from typing import TYPE_CHECKING

from optuna_study.definition.serialise import diff
from optuna_study.report import values
from optuna_study.report.confirmation.page import interval_text, sentence
from optuna_study.report.document.blocks import Block, Code, Document, Made, Section, Table, Text
from optuna_study.report.document.content import config_of
from optuna_study.report.export import telling_settings
from optuna_study.report.figures.studies import efforts, histories
from optuna_study.report.pages import best_lines, ends_line
from optuna_study.report.summary import importance_columns
from optuna_study.report.tables import plain
from optuna_study.store.schema import SIDE_COUNTS
from optuna_study.text import duration, join_words, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna_study.report.confirmation.verdict import Interval
    from optuna_study.report.figures.study_data import StudyData

UNTOLD = "-"


def comparison_document(several: Sequence[StudyData]) -> Document:
    """The report of several studies; all of it is of one moment, read before."""
    names = [data.study.name for data in several]
    sections = [
        Section("Result", tuple(_result(several))),
        Section("Search", tuple(_search(several))),
        Section("The best trials", tuple(_best(several))),
        Section("What differs", tuple(_differences(several))),
        Section("What mattered", tuple(_importances(several))),
        Section("More", (_commands(names),)),
    ]
    told = [section for section in sections if section.blocks]
    return Document(f"{join_words(names)} compared", " · ".join(names), told)


def _result(several: Sequence[StudyData]) -> Iterator[Block]:
    yield Text(_held_out(several), lead=True)
    headers = ["study", "best", "in the search", "confirmed", "test", "trials", "training"]
    yield Table(headers, [_row(data) for data in several])
    for data in several:
        confirmed = data.summary.confirmation
        said = [sentence(confirmed)] if confirmed is not None else best_lines(data.summary)
        lines = [plain(line).rstrip(".") for line in said]
        yield Text(f"{data.study.name}: {'. '.join(lines)}. {plain(ends_line(data.summary))}")


def _row(data: StudyData) -> list[str]:
    winner, confirmed = data.summary.winner, data.summary.confirmation
    found = None if confirmed is None or confirmed.verdict is None else confirmed.verdict.winner
    mean = None if found is None or found.mean is None else found.mean.mean
    worked = sum(trial.worked for trial in data.trials)
    return [
        data.study.name,
        UNTOLD if winner is None else f"trial {winner.number}",
        UNTOLD if winner is None else data.shown(winner.value),
        UNTOLD if mean is None else data.shown(mean),
        interval_text(values.ACCURACY, _test(data)),
        f"{data.summary.counts.ended:,}",
        duration(worked),
    ]


def _test(data: StudyData) -> Interval | None:
    """What the winner's confirmation runs reach on held-out pictures."""
    confirmed = data.summary.confirmation
    if confirmed is None or confirmed.verdict is None:
        return None
    return confirmed.verdict.winner.test


def _held_out(several: Sequence[StudyData]) -> str:
    """Which winner is better on held-out pictures, as far as their intervals tell.

    The half width of a difference's interval is the root of the sum of the squares of both: too
    wide rather than too narrow where runs share their pictures.
    """
    if len({data.study.fingerprint for data in several}) > 1:
        return "The studies are of different pictures: their figures do not compare."
    if apart := _split_apart(several):
        return f"{apart}: their figures do not compare."
    known = [(data.study.name, test) for data in several if (test := _test(data)) is not None]
    if len(known) < len(several):
        names = join_words([data.study.name for data in several if _test(data) is None])
        return (
            f"Without confirmation runs of {names} there is no verdict: the best of a search is "
            "flattered by having been chosen."
        )
    (first, ours), (second, theirs), *_ = sorted(known, key=lambda pair: -pair[1].mean)
    gain = ours.mean - theirs.mean
    figures = f"{percent(ours.mean)} against {percent(theirs.mean)} of held-out pictures"
    halves = [_half(each) for each in (ours, theirs)]
    if None in halves:
        return f"{first} is ahead of {second}: {figures}; of single runs no interval is known."
    reach = math.hypot(*(half for half in halves if half is not None))
    between = f"{100 * (gain - reach):+.1f} to {100 * (gain + reach):+.1f}"
    figures += f" ({100 * gain:+.1f} points, 95 % interval {between})"
    if gain > reach:
        return f"The winner of {first} is better than that of {second}: {figures}."
    return f"The winners of {first} and {second} are not distinguishable: {figures}."


def _split_apart(several: Sequence[StudyData]) -> str:
    """How studies of the same pictures part them; empty where they hold out as many.

    The split follows from the fingerprint (labels, parts and groups are in it) and from which
    pictures are nearly the same, where versions of this package may differ.
    """
    counted = {
        data.study.name: (sides.get("validation"), sides.get("test"))
        for data in several
        if (sides := data.study.environment.get(SIDE_COUNTS))
    }
    if len(set(counted.values())) < 2:
        return ""
    each = [
        f"{name} has {validation:,} for validation and {test:,} held out"
        for name, (validation, test) in counted.items()
    ]
    return f"The studies part the same pictures differently ({'; '.join(each)})"


def _half(interval: Interval) -> float | None:
    if interval.low is None or interval.high is None:
        return None
    return (interval.high - interval.low) / 2


def _search(several: Sequence[StudyData]) -> Iterator[Block]:
    if len({data.study.metric for data in several}) > 1:
        named = [f"{data.study.name} by {data.label}" for data in several]
        yield Text(f"They rank trials by different figures: {join_words(named)}.")
        return
    yield Made("Values by trial", histories(several))
    yield Made("The best so far by training", efforts(several))


def _best(several: Sequence[StudyData]) -> Iterator[Block]:
    """The winners' settings beside each other: those that any of them searched, or that differ."""
    found = []
    for data in several:
        winner = data.summary.winner
        config = None if winner is None else config_of(data, winner)
        if winner is not None and config is not None:
            found.append((data, winner, config))
    if not found:
        return
    first = found[0][2]
    names: dict[str, None] = {}
    for data, winner, _ in found:
        names |= dict.fromkeys(telling_settings(data.study, winner, first))
    headers = [f"{data.study.name}, trial {winner.number}" for data, winner, _ in found]
    yield Table(
        ["setting", *headers], values.setting_rows(names, *(config for _, _, config in found))
    )


def _differences(several: Sequence[StudyData]) -> Iterator[Block]:
    """What of the definitions differs, study by study; their names aside."""
    for one, other in itertools.pairwise(several):
        rows = []
        for line in diff(one.study.definition, other.study.definition):
            path, _, change = line.partition(": ")
            if path not in ("name", "study"):
                rows.append([path, *change.split(" -> ", 1)])
        environment = (one.study.environment, other.study.environment)
        rows += [
            [name.replace("_", " "), *(str(each.get(name, UNTOLD)) for each in environment)]
            for name in ("device", "threads", "torch", "optuna-study")
            if environment[0].get(name) != environment[1].get(name)
        ]
        if rows:
            yield Table(["", one.study.name, other.study.name], rows)
        else:
            names = join_words([one.study.name, other.study.name])
            yield Text(f"The definitions and machines of {names} are the same.")


def _importances(several: Sequence[StudyData]) -> Iterator[Block]:
    for data in several:
        headers, rows = importance_columns(data.study)
        if rows:
            yield Table([f"{data.study.name}: parameter", *headers[1:]], rows)


def _commands(names: Sequence[str]) -> Code:
    return Code("\n".join(f"optuna-study report {shlex.quote(name)}" for name in names))
