"""The notes that optuna-dashboard shows for a study and for each trial, as Markdown; pure."""

from __future__ import annotations

from optuna_study.config.settings import SECTION_OF, TrainConfig
from optuna_study.report import values
from optuna_study.report.comparison.page import comparison_blocks
from optuna_study.report.pages import best_block, confirmed_block
from optuna_study.report.pareto.page import front_block
from optuna_study.report.summary import (
    Summary,
    ended_by_kind,
    ending,
    ends_by_reason,
    excluded_clause,
    importance_columns,
    reason,
    untold_sentence,
    why,
)
from optuna_study.report.tables import markdown_table, plain
from optuna_study.store.records import EndKind, StudyRecord, TrialRecord

MOST_SHARES = 6  # parameters that a study's note says the importance of

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
    if trial.confirms is not None:
        lines += [f"Trains trial {trial.confirms} again on a fresh seed.", ""]
    chosen = [name for name in (*trial.parameters, *trial.fixed) if name in SECTION_OF]
    names = dict.fromkeys((*chosen, *KEY_SETTINGS))
    lines += markdown_table(["setting", "value"], values.setting_rows(names, config))
    command = f"optuna-study export {study.name} --trial {trial.number} -o trial.toml"
    lines += [f"seed {trial.seed}, {trial.epochs} epochs, {trial.worked:.0f} s of training"]
    return "\n".join([*lines, "", f"`{command}`"])


def study_note(summary: Summary) -> str:
    """What a study is and where it stands, as `show` has it, with the next commands."""
    study = summary.study
    definition = study.definition
    lines = [f"## {definition['title'] or study.name}", ""]
    if definition["source"]:
        lines += [definition["source"], ""]
    ends = ", ".join(ends_by_reason(summary.counts)) or "none yet"
    kinds = "" if summary.comparison else ended_by_kind(summary.counts)
    ended = f"**{summary.counts.ended} of {study.total}** trials have ended{kinds}: {ends}"
    lines += [f"{ended}{excluded_clause(summary)}.", ""]
    if summary.comparison is not None:
        blocks = "\n\n".join(comparison_blocks(study, summary.comparison))
        lines += ["```text", plain(blocks), "```", ""]
    else:
        lines += [plain(best_block(summary)), ""]
        if front := front_block(summary):
            lines += ["```text", plain(front), "```", ""]
        if confirmed := confirmed_block(summary):
            lines += ["```text", plain(confirmed), "```", ""]
        lines += _baseline_table(summary)
    headers, shares = importance_columns(study, MOST_SHARES)
    lines += markdown_table(["what mattered", *headers[1:]], shares)
    if untold := untold_sentence(study):
        lines += [untold, ""]
    lines += ["### Next", f"`optuna-study show {study.name}`", ""]
    lines += ["On `optuna-study dashboard`: [pause, resume or stop it](/studies)", ""]
    lines += [f"`optuna-study export {study.name} -o best.toml`, then `optuna-study train`"]
    return "\n".join(lines)


def _baseline_table(summary: Summary) -> list[str]:
    metric = summary.study.metric
    rows = [
        [
            trial.baseline,
            trial.group,
            values.metric(metric, trial.value) if trial.end is EndKind.COMPLETED else "",
            reason(trial) if why(trial) else ending(trial),
        ]
        for trial in summary.baselines
    ]
    return markdown_table(["baseline", "group", metric.removeprefix("validation_"), "end"], rows)
