"""The notes that optuna-dashboard shows for a study and for each trial, as Markdown; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.config.schedule import breakpoints_text
from optuna_study.config.settings import get_setting
from optuna_study.store.records import EndKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna_study.config.settings import TrainConfig
    from optuna_study.definition.model import Definition
    from optuna_study.store.records import Counts, StudyRecord, TrialRecord

KEY_SETTINGS = (
    "activation",
    "normalisation",
    "initialisation",
    "dropout",
    "optimizer",
    "lr",
    "breakpoints",
    "batch_size",
    "weight_decay",
    "augmentation",
)


def trial_note(trial: TrialRecord, config: TrainConfig, study: StudyRecord) -> str:
    """How a trial ended, what it was, and how to use it."""
    named = f" · baseline **{trial.baseline}**" if trial.baseline else ""
    lines = [f"## Trial {trial.number}{named}", "", f"**{trial.end}**: {trial.reason}", ""]
    if trial.resumed_elsewhere:
        lines += ["Continued on other hardware: its curve is not repeatable bit for bit.", ""]
    lines += ["| setting | value |", "|---|---|"]
    lines += [f"| {name} | {_cell(get_setting(config, name))} |" for name in KEY_SETTINGS]
    command = f"optuna-study export {study.name} --trial {trial.number} -o trial.toml"
    lines += ["", f"seed {trial.seed}, {trial.epochs} epochs, {trial.worked:.0f} s of training"]
    return "\n".join([*lines, "", f"`{command}`"])


def study_note(
    study: StudyRecord,
    definition: Definition,
    counts: Counts,
    best: TrialRecord | None,
    baselines: Sequence[TrialRecord],
) -> str:
    """What a study is and where it stands: its best trial, its baselines, the next commands."""
    lines = [f"## {definition.title or study.name}", ""]
    if definition.source:
        lines += [definition.source, ""]
    ends = ", ".join(f"{number} {kind}" for kind, number in counts.ends.items()) or "none yet"
    lines += [f"**{counts.ended} of {study.budget}** trials have ended: {ends}.", ""]
    if best is not None:
        name = f" (baseline {best.baseline})" if best.baseline else ""
        lines += [f"Best: trial **{best.number}**{name}, {study.metric} **{best.value:.4g}**.", ""]
    lines += _baseline_table(study, baselines)
    lines += _importance_table(study.importances or {})
    lines += ["### Next", f"`optuna-study show {study.name}`", ""]
    lines += [f"`optuna-study export {study.name} -o best.toml`, then `optuna-study train`"]
    return "\n".join(lines)


def _baseline_table(study: StudyRecord, baselines: Sequence[TrialRecord]) -> list[str]:
    if not baselines:
        return []
    lines = [f"| baseline | group | {study.metric} | end |", "|---|---|---|---|"]
    for each in baselines:
        shown = each.end is EndKind.COMPLETED and each.value is not None
        value = f"{each.value:.4g}" if shown else ""
        reason = "" if each.reason is None or shown else f": {each.reason}"
        end = f"{each.end or each.state.value.lower()}{reason if each.end else ''}"
        lines.append(f"| {_cell(each.baseline)} | {_cell(each.group)} | {value} | {_cell(end)} |")
    return [*lines, ""]


def _importance_table(importances: Mapping[str, float]) -> list[str]:
    if not importances:
        return []
    ranked = sorted(importances.items(), key=lambda item: -item[1])[:6]
    rows = [f"| {name} | {share:.0%} |" for name, share in ranked]
    return ["| what mattered | share |", "|---|---|", *rows, ""]


def _cell(value: object) -> str:
    """A value within a Markdown table, on one line."""
    if isinstance(value, tuple):
        return breakpoints_text(value)
    text = "" if value is None else str(value)
    return " ".join(text.split()).replace("|", "\\|")[:160]
