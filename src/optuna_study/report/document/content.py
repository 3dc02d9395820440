"""What a report says of a study, in the order in which people ask."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from typing import TYPE_CHECKING

from optuna_study.errors import OutsideSpaceError
from optuna_study.report import values
from optuna_study.report.comparison.page import (
    claim_columns,
    columns,
    footnotes,
    verdict_sentence,
)
from optuna_study.report.confirmation.page import WHAT_THEY_ARE, confirmed_columns, sentence
from optuna_study.report.document.blocks import Code, Document, Drawing, Section, Table, Text
from optuna_study.report.export import export, telling_settings, trial_config
from optuna_study.report.figures.study_data import group_name
from optuna_study.report.pages import best_lines, ends_line, stand_in_sentence
from optuna_study.report.pareto.page import front_columns, front_title, unconfirmed_sentence
from optuna_study.report.summary import ending, importance_columns, untold_sentence, why
from optuna_study.report.tables import plain
from optuna_study.store.schema import CLASS_COUNTS, SIDE_COUNTS
from optuna_study.text import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna_study.config.settings import TrainConfig
    from optuna_study.report.document.blocks import Block
    from optuna_study.report.figures.study_data import StudyData
    from optuna_study.store.records import TrialRecord

SHOWN_TRIALS = 10
TELLING_CLASSES = 40  # beyond, a table of classes hides the rest
ENVIRONMENT = (
    *("device", "threads", "processor", "instruction_set", "memory"),
    *("python", "torch", "optuna", "optuna-study"),
)


def document(data: StudyData) -> Document:
    """The report of a study."""
    study = data.study
    title = study.definition["title"] or study.name
    made = values.moment(study.created)
    subtitle = f"{study.name} · {study.data_source} · made {made}"
    sections = [
        Section("Result", tuple(_result(data))),
        Section("Search", (Drawing("history"), Drawing("curves"), _ends(data))),
        Section("What mattered", tuple(_settings(data))),
        Section("Baselines", tuple(_baselines(data))),
        Section("The best trial", tuple(_best(data))),
        Section("Data", tuple(_pictures(data))),
        Section("Time and machine", tuple(_cost(data))),
        Section("Do it again", tuple(_commands(data))),
    ]
    return Document(title, subtitle, [section for section in sections if section.blocks])


def _result(data: StudyData) -> Iterator[Block]:
    summary, study = data.summary, data.study
    stand_in = stand_in_sentence(summary)
    if summary.comparison is None:
        confirmed = summary.confirmation is not None
        if summary.confirmation is not None:
            yield Text(sentence(summary.confirmation), lead=True)
        lines = (line.rstrip(".") for line in best_lines(summary))
        yield Text(f"{'. '.join(lines)}.", lead=not confirmed)
        if summary.confirmation is not None:
            headers, rows = confirmed_columns(summary.confirmation, study.metric)
            if rows:
                yield Table(headers, rows)
                yield Text(WHAT_THEY_ARE)
        elif uncertain := _uncertainty(data):
            yield Text(uncertain)
        yield from _front(data)
    else:
        for group in summary.comparison.groups:
            yield Text(f"{group.name or 'Baselines'}: {verdict_sentence(group)}", lead=True)
    if stand_in:
        yield Text(stand_in)
    yield Text(plain(ends_line(summary)))
    if study.definition["source"]:
        yield Text(study.definition["source"])


def _front(data: StudyData) -> Iterator[Block]:
    """The Pareto front, of a study with two objectives."""
    if not data.summary.weighed:
        return
    headers, rows = front_columns(data.summary)
    yield Drawing("pareto")
    better = "no other trial is better in one and no worse in the other"
    yield Text(f"{front_title(data.summary)}: {better}.")
    yield Table(headers, rows)
    said = unconfirmed_sentence(data.summary)
    if said:
        yield Text(said)


def _uncertainty(data: StudyData) -> str:
    """How far an accuracy on so many pictures may be off, and what choosing the best adds.

    One binomial standard error, sqrt(p (1 - p) / n).
    """
    best, sides = data.summary.best, data.study.environment.get(SIDE_COUNTS, {})
    pictures = sides.get("validation")
    if best is None or best.value is None or not data.is_accuracy or not pictures:
        return ""
    error = math.sqrt(best.value * (1 - best.value) / pictures)
    return (
        f"On {pictures:,} validation pictures an accuracy of {percent(best.value)} has a standard "
        f"error of {100 * error:.1f} points, and the best of {count(len(data.ranked), 'trial')} "
        "is flattered by having been chosen: what it reaches on pictures held out from the "
        "search, `train` says."
    )


def _ends(data: StudyData) -> Drawing:
    counted = Counter(group_name(trial) for trial in data.trials)
    rows = [[name.replace("_", " "), f"{amount:,}"] for name, amount in counted.most_common()]
    return Drawing("ends", Table(["end", "trials"], rows))


def _settings(data: StudyData) -> Iterator[Block]:
    if not data.leaves:
        return
    headers, rows = importance_columns(data.study)
    if rows:
        yield Drawing("importances", Table(headers, rows))
        trials = count(data.study.importances_trials or 0, "completed trial")
        yield Text(
            f"Shares of the variance between {trials} (PED-ANOVA), intervals by bootstrap. A "
            "small share means that the values tried made little difference, not that any value "
            "would do."
        )
    if untold := untold_sentence(data.study):
        yield Text(untold)
    if len(data.ranked) > 1:
        yield from (Drawing("parallel"), Drawing("slices"), Drawing("interaction"))


def _baselines(data: StudyData) -> Iterator[Block]:
    summary, study = data.summary, data.study
    if summary.comparison is not None:
        yield Drawing("baselines")
        for group in summary.comparison.groups:
            headers, cells = columns(group)
            yield Table([group.name or "baseline", *headers[1:]], _texts(cells))
        if summary.comparison.claims:
            headers, cells = claim_columns(summary.comparison)
            yield Table(headers, _texts(cells))
        yield from (Text(note) for note in footnotes(study, summary.comparison))
    elif summary.baselines:
        rows = [
            [
                trial.group or "",
                trial.baseline or "",
                data.shown(trial.value),
                f"{ending(trial)}: {why(trial)}" if why(trial) else ending(trial),
                summary.reported.get(trial.baseline or "", ""),
            ]
            for trial in summary.baselines
        ]
        yield Drawing("baselines")
        headers = ["group", "baseline", data.label, "end", "the source reports"]
        kept = [i for i in range(len(headers)) if i not in (0, 4) or any(row[i] for row in rows)]
        yield Table([headers[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _texts(cells: list[list[object]]) -> list[list[str]]:
    return [["-" if cell is None else str(cell) for cell in row] for row in cells]


def _best(data: StudyData) -> Iterator[Block]:
    best = data.summary.winner
    if best is None:
        return
    yield _configuration(data, best)
    for kind in ("trial", "steps", "confusion", "mistakes", "outputs", "boundary", "schedules"):
        yield Drawing(kind)
    rows = [
        [
            str(trial.number),
            trial.baseline or "",
            data.shown(trial.value),
            values.headline(trial.parameters),
            duration(trial.worked),
        ]
        for trial in data.ranked[:SHOWN_TRIALS]
    ]
    yield Table(["trial", "baseline", data.label, "settings", "trained"], rows)


def _configuration(data: StudyData, best: TrialRecord) -> Table:
    """The settings worth showing, the best baseline's beside them."""
    config, other = config_of(data, best), None
    if config is None:
        rows = [[name, values.setting(value, name)] for name, value in best.parameters.items()]
        return Table(["parameter", f"trial {best.number}"], rows)
    baseline = data.summary.best_baseline
    if baseline is not None and baseline.number != best.number:
        other = config_of(data, baseline)
    names, headers = telling_settings(data.study, best, other), ["setting", f"trial {best.number}"]
    if other is None or baseline is None:
        return Table(headers, values.setting_rows(names, config))
    return Table(
        [*headers, f"baseline {baseline.baseline}"], values.setting_rows(names, config, other)
    )


def config_of(data: StudyData, trial: TrialRecord) -> TrainConfig | None:
    """A trial's configuration; None of one by plain Optuna that the space does not cover."""
    try:
        return trial_config(data.study, trial)
    except OutsideSpaceError:
        return None


def _pictures(data: StudyData) -> Iterator[Block]:
    study = data.study
    sides = study.environment.get(SIDE_COUNTS, {})
    facts = [["pictures from", study.data_source], ["fingerprint", study.fingerprint]]
    facts += [[f"{side} pictures", f"{amount:,}"] for side, amount in sides.items()]
    facts += [["side of a picture", f"{study.definition['config']['data']['image_size']} pixels"]]
    yield Table(["", ""], facts)
    counts = study.environment.get(CLASS_COUNTS, ())
    if data.predictions is not None and 0 < len(counts) <= TELLING_CLASSES:
        names = data.predictions.classes
        if len(names) == len(counts):
            rows = [[n, f"{amount:,}"] for n, amount in zip(names, counts, strict=True)]
            yield Table(["class", "training pictures"], rows)


def _cost(data: StudyData) -> Iterator[Block]:
    environment = data.study.environment
    worked = [trial.worked for trial in data.trials if trial.worked > 0]
    facts = []
    if worked:
        facts = [
            ["training, all trials together", duration(sum(worked))],
            ["training, a trial on average", duration(sum(worked) / len(worked))],
            ["training, the longest trial", duration(max(worked))],
        ]
    for name in ENVIRONMENT:
        if name in environment:
            unit = " GiB" if name == "memory" else ""
            facts.append([name.replace("_", " "), f"{environment[name]}{unit}"])
    yield Drawing("cost")
    yield Table(["", ""], facts)


def _commands(data: StudyData) -> Iterator[Block]:
    name, best = shlex.quote(data.study.name), data.summary.winner
    lines = [f"optuna-study show {name}"]
    if best is not None:
        lines += [
            f"optuna-study export {name} -o best.toml",
            "optuna-study train best.toml -o best --verify",
            "optuna-study predict best/model.pt picture.jpg",
        ]
    yield Code("\n".join(lines))
    if best is not None and config_of(data, best) is not None:
        curve = data.curves.get(best.number, ())
        title = f"The complete configuration of trial {best.number}, best.toml"
        yield Code(export(data.study, best, curve, "toml"), title)
