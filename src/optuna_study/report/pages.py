"""The pages that `launch` and `show` print for people."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from optuna_study.report import values as words
from optuna_study.report.pareto.page import front_block, second_shown
from optuna_study.report.summary import (
    LEAST_SHARE,
    Summary,
    ended_by_kind,
    ending,
    ends_by_reason,
    excluded_clause,
    held_up,
    importance_columns,
    label,
    reason,
    untold_sentence,
    why,
)
from optuna_study.report.tables import hanging, heading, line_width, pairs, paragraph, table
from optuna_study.store.pareto import second_metric
from optuna_study.store.schema import SIDE_COUNTS
from optuna_study.text import Advice, count, duration, pasteable, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.config.settings import TrainConfig
    from optuna_study.report.curves.patterns import Diagnosis
    from optuna_study.report.curves.read import Newest
    from optuna_study.store.records import EpochRecord, StudyRecord, StudyRow, TrialRecord

CURVE_ROWS = 20
BASELINES_BELOW = ("why", "source reported", "group")


def studies_table(studies: Sequence[StudyRow]) -> str:
    """The studies of a store, one a line; with their owners where there are several."""
    several = len({each.owner for each in studies}) > 1
    rows = [
        [
            each.name,
            *([each.owner] if several else []),
            words.standing(
                each.state,
                running=each.running,
                met=each.ended >= each.total,
                halted=each.halted,
            ),
            f"{each.ended}/{each.total}",
            each.running,
            words.metric(each.metric, each.best),
            each.metric,
            words.moment(each.last_activity),
            *([each.priority] if any(other.priority for other in studies) else []),
        ]
        for each in studies
    ]
    headers = ["study", *(["owner"] if several else []), "state", "ended", "running", "best"]
    headers += ["metric", "last activity"]
    if any(each.priority for each in studies):
        headers.append("priority")
    below = ("metric", "last activity", "priority")
    return table(headers, rows, below=below, width=line_width())


def trials_table(study: StudyRecord, trials: Sequence[TrialRecord]) -> str:
    """The trials of a study, one a line."""
    rows = [
        [
            each.number,
            ending(each),
            words.metric(study.metric, each.value),
            second_shown(study, each) or "",
            each.epochs,
            duration(each.worked),
            label(each),
            why(each),
        ]
        for each in trials
    ]
    second = words.label(second_metric(study) or "")
    headers = ["trial", "end", "value", second, "epochs", "trained", "configuration", "why"]
    return table(
        headers,
        rows,
        prose=("configuration", "why", ""),  # without a second objective it has no text
        below=("why", "trained", "epochs"),
        width=line_width(),  # one line a trial for grep
    )


def study_page(summary: Summary, now: float, curves: Newest, place: str = "") -> str:
    """One study: state, best, baselines, ends by reason, curves, what mattered, time left."""
    blocks = [_facts(summary, place), stand_in_sentence(summary), *_results(summary, place)]
    blocks += [paragraph(ends_line(summary)), hanging(curves_line(summary, curves, place), 0)]
    blocks.append(_importances(summary.study, now))
    return "\n\n".join(block for block in blocks if block)


def closing_page(
    summary: Summary,
    best: TrainConfig | None,
    baseline: TrainConfig | None,
    names: Sequence[str],
    place: str = "",
) -> str:
    """What `launch` ends with: the best configuration, the baselines, what to type next.

    `place` are the options that lead other commands to the same store.
    """
    best_one = "" if best is None else configuration_block(best, baseline, names)
    blocks = [*_results(summary, place, best_one), stand_in_sentence(summary)]
    blocks += [paragraph(ends_line(summary)), next_commands(summary, place)]
    return "\n\n".join(block for block in blocks if block)


def _results(summary: Summary, place: str, configuration: str = "") -> list[str]:
    """What was found: of a search its best beside the baselines, of a comparison its tables."""
    if summary.comparison is not None:
        from optuna_study.report.comparison.page import comparison_blocks  # 25 ms that few need

        return comparison_blocks(summary.study, summary.comparison)
    blocks = [best_block(summary), front_block(summary, place), confirmed_block(summary)]
    blocks.append(configuration)
    return [*blocks, baselines_block(summary)] if summary.baselines else blocks


def stand_in_sentence(summary: Summary) -> str:
    """A sentence when built-in pictures stood in for the real ones."""
    name = summary.stand_in
    return f"The built-in '{name}' pictures stand in for the real ones." if name else ""


def predictions_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Pictures with their class and its probability, and the runner-up."""
    lines = []
    for row in rows:
        if row["class"] is None:
            lines.append([row["image"], "unreadable", "", ""])
            continue
        ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])
        second = f"{ranked[1][0]} {percent(ranked[1][1])}" if len(ranked) > 1 else ""
        lines.append([row["image"], row["class"], percent(ranked[0][1]), second])
    return table(["picture", "class", "probability", "next"], lines)


def best_block(summary: Summary) -> str:
    """The best trial's value beside the best baseline's."""
    first, *others = best_lines(summary)
    title = first if summary.best is None else heading(first)
    return "\n".join([title, *map(paragraph, others)])


def best_lines(summary: Summary) -> list[str]:
    """The best trial's value, the best baseline's, guessing's, and what else is measured."""
    study, best, baseline = summary.study, summary.best, summary.best_baseline
    if best is None or best.value is None:
        return ["No trial has completed."]
    from optuna_study.report.confirmation.page import floors  # 20 ms that a list does not need

    metric = study.metric.replace("_", " ")
    lines = [f"Best: trial {best.number}, {metric} {words.metric(study.metric, best.value)}"]
    if best.baseline:
        lines.append(f"It is the baseline {best.baseline}; no trial of the search beats it.")
    elif baseline is not None and baseline.value is not None:
        gain = words.difference(study.metric, best.value, baseline.value, study.direction)
        theirs = words.metric(study.metric, baseline.value)
        which = f"{baseline.baseline} (trial {baseline.number})"
        lines.append(f"Best baseline: {which}, {theirs}; the best is {gain}.")
    lines += floors(study)
    winner = summary.winner or best
    if winner.number != best.number and best.baseline is None:
        # Of finalists alone: whether it beats the best baseline is for the verdict to say.
        lines.append(f"Of the searched trials, {winner.number} leads on fresh seeds.")
    if summary.figures is not None:
        which = "" if winner.number == best.number else f" of trial {winner.number}"
        measured = words.measures(summary.figures)
        if "," in measured:  # else an earlier version recorded nothing else
            lines.append(f"On the validation pictures{which}: {measured}.")
    if coarse := words.grain(summary.validation_pictures):
        lines.append(coarse)
    return lines


def confirmed_block(summary: Summary) -> str:
    """What fresh seeds and held-out pictures say of the best ones, as far as it is known."""
    if summary.confirmation is None:
        return ""
    from optuna_study.report.confirmation.page import confirmation_block

    return confirmation_block(summary.confirmation, summary.study.metric)


def configuration_block(
    best: TrainConfig, baseline: TrainConfig | None, names: Sequence[str]
) -> str:
    """Some settings of the best configuration, the best baseline's beside them."""
    from optuna_study.config.settings import get_setting  # 15 ms that a list does not need

    if baseline is None or baseline == best:
        return pairs({name: shown for name, shown in words.setting_rows(names, best)})
    same = {name for name in names if get_setting(best, name) == get_setting(baseline, name)}
    rows = [
        [name, ours, "same" if name in same else theirs]
        for name, ours, theirs in words.setting_rows(names, best, baseline)
    ]
    return table(["setting", "best", "best baseline"], rows)


def baselines_block(summary: Summary) -> str:
    """Every baseline by its group: value, end and what was reported of it."""
    study = summary.study
    rows = [
        [
            trial.group or "",
            trial.baseline,
            trial.number,
            words.metric(study.metric, trial.value),
            ending(trial),
            why(trial),
            summary.reported.get(trial.baseline or "", ""),
        ]
        for trial in summary.baselines
    ]
    value = study.metric.removeprefix("validation_")
    headers = ["group", "baseline", "trial", value, "end", "why", "source reported"]
    return table(headers, rows, prose=("group", "why", "source reported"), below=BASELINES_BELOW)


def ends_line(summary: Summary) -> str:
    """How many trials ended, by reason."""
    counts = summary.counts
    parts = ends_by_reason(counts)
    line = f"{counts.ended} of {count(summary.study.total, 'trial')} ended"
    line += "" if summary.comparison else ended_by_kind(counts)
    line += f": {', '.join(parts)}" if parts else ""
    open_ones = [
        f"{amount} {name}"
        for name, amount in (("running", counts.running), ("waiting", counts.waiting))
        if amount
    ]
    line += f"; {', '.join(open_ones)}" if open_ones else ""
    return f"{line}{excluded_clause(summary)}."


def curves_line(summary: Summary, curves: Newest, place: str) -> str:
    """How many loss curves show which pattern, and who says what to do about it."""
    doctor = pasteable(Advice(["doctor", summary.study.name]), place)
    if curves.recorded and not curves.read:
        return f"Loss curves: {doctor} reads them."
    if not curves.readings:
        return ""
    tally = curves.tally().items()
    counted = ", ".join(f"{amount} {pattern.replace('_', ' ')}" for pattern, amount in tally)
    if curves.complete:
        return f"Loss curves: {counted}; {doctor} says why."
    newest = f"of the newest {count(curves.read, 'trial')}"
    return f"Loss curves {newest} ({curves.recorded:,} have one): {counted}; {doctor} reads all."


def next_commands(summary: Summary, place: str = "") -> str:
    """The commands that make sense after a launch, ready to paste."""
    name = shlex.quote(summary.study.name) + place
    commands = {f"optuna-study show {name}": "the whole study"}
    study, ended = summary.study, summary.counts.ended
    unconfirmed = summary.confirmation is None and study.definition.get("only") is None
    if summary.best is not None and unconfirmed and not study.is_done(ended):
        commands[f"optuna-study confirm {name}"] = "end the search: its best on fresh seeds"
    if summary.best is not None:
        commands |= {
            f"optuna-study export {name} -o best.toml": "the best configuration, complete",
            "optuna-study train best.toml -o best --verify": "train it again and compare",
            f"optuna-study report {name} -o report.html": "all of it on one page to send",
        }
    commands[f"optuna-study dashboard{place}"] = "all trials in the browser"
    width = max(map(len, commands))
    lines = [f"  {command:<{width}}  # {why}" for command, why in commands.items()]
    if max(map(len, lines)) > line_width():  # what it does above the command, which stays whole
        lines = [f"  # {why}\n  {command}" for command, why in commands.items()]
    return "\n".join([heading("Next"), *lines])


def trial_page(
    study: StudyRecord,
    trial: TrialRecord,
    curve: Sequence[EpochRecord],
    settings: Mapping[str, Any],
    log: Sequence[str],
    diagnosis: Diagnosis | None = None,
    confusion: str | None = None,
) -> str:
    """One trial: how it ended, its settings, curve and confusion, traceback, tail of its log."""
    facts = {
        "state": trial.state.value,
        study.metric.replace("_", " "): words.metric(study.metric, trial.value),
        words.label(second_metric(study) or ""): second_shown(study, trial),
        "reason": reason(trial),
        "excluded": trial.excluded,
        "loss curve": diagnosis and f"{diagnosis.pattern.label}: {diagnosis.cause}",
        "baseline": trial.baseline,
        "seed": trial.seed,
        "trained": duration(trial.worked),
        "started": words.moment(trial.started),
        "worker": trial.owner,
        "claims": f"{trial.claims}, resumed on other hardware"
        if trial.resumed_elsewhere
        else None,
    }
    shown = {name: value for name, value in facts.items() if value is not None}
    blocks = [f"{heading(f'{study.name}, trial {trial.number}')}\n{pairs(shown)}"]
    if settings:
        values = {name: words.setting(value, name) for name, value in settings.items()}
        blocks.append(f"{heading('Settings')}\n{pairs(values)}")
    if curve:
        sides = study.environment.get(SIDE_COUNTS) or {}
        coarse = words.grain(sides.get("validation"))
        blocks.append("\n".join(filter(None, (_curve(curve), coarse))))
    if confusion is not None:
        blocks.append(confusion)
    if trial.traceback:
        blocks.append(f"{heading('Traceback')}\n{trial.traceback.rstrip()}")
    if log:
        blocks.append("\n".join([heading("Log"), *log]))
    return "\n\n".join(blocks)


def _facts(summary: Summary, place: str) -> str:
    study, counts = summary.study, summary.counts
    met = study.is_done(counts.ended)
    state = words.standing(study.state, running=counts.running, met=met, halted=study.halted)
    if study.halted and not met:
        resume = Advice(" in a row; ", ["resume", study.name], " lets it go on")
        state += pasteable(resume, place)
    facts = {
        "state": state,
        "priority": study.priority or None,
        "data": study.data_source,
        "made": words.moment(study.created),
        "owner": study.environment.get("owner"),
        "device": study.environment.get("device"),
        "seed": study.seed,
    }
    about = [f"about {duration(summary.seconds_left)}"] if summary.seconds_left else []
    said = held_up(study, counts)
    waits = [pasteable(said, place)] if said else []
    facts["left"] = ", ".join([*about, *waits]) or None
    shown = {name: value for name, value in facts.items() if value is not None}
    return f"{heading(study.name)}\n{pairs(shown)}"


def _importances(study: StudyRecord, now: float) -> str:
    headers, rows = importance_columns(study)
    if study.measured_importances is None:
        return ""
    age = f", {duration(now - study.importances_at)} ago" if study.importances_at else ""
    title = f"What mattered (of {count(study.importances_trials or 0, 'trial')}{age})"
    blocks = [heading(title)]
    if rows:
        shares = [share for share in (study.importances or {}).values() if share >= LEAST_SHARE]
        bars = ["█" * round(20 * share / (max(shares) or 1.0)) for share in shares]
        with_bars = [[*row, bar] for row, bar in zip(rows, bars, strict=True)]
        blocks.append(table([*headers, ""], with_bars))
    if untold := untold_sentence(study):
        blocks.append(paragraph(untold))
    return "\n".join(blocks)


def _curve(curve: Sequence[EpochRecord]) -> str:
    accuracies = [epoch.validation_accuracy for epoch in curve]
    line = words.sparkline(accuracies, width=60, low=0, high=1)
    chosen = [curve[index] for index in _spread(len(curve), CURVE_ROWS)]
    rows = [
        [
            epoch.epoch,
            words.number(epoch.train_loss),
            words.metric(words.ACCURACY, epoch.train_accuracy),
            words.number(epoch.validation_loss),
            words.metric(words.ACCURACY, epoch.validation_accuracy),
            words.number(epoch.lr),
            duration(epoch.seconds),
        ]
        for epoch in chosen
    ]
    headers = ["epoch", "train loss", "accuracy", "validation loss", "accuracy", "lr", "time"]
    title = (
        "Curve" if len(chosen) == len(curve) else f"Curve ({len(chosen)} of {len(curve)} epochs)"
    )
    return f"{heading(title)}  {line}\n{table(headers, rows)}"


def _spread(length: int, rows: int) -> list[int]:
    if length <= rows:
        return list(range(length))
    return sorted({round(index * (length - 1) / (rows - 1)) for index in range(rows)})
